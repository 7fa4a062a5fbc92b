"""The connection log on a real box: leased addresses of both families, the portal as nobody, exports as root."""

import csv
import io
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.gateway import PROJECT
from tests.lab.internet import STRAY4, STRAY6
from tests.lab.journey import is_online, skip
from tests.lab.phone import Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

PEOPLE = ("--reason", "Request 123/PA05", "--requester", "Nguyen Van A", "--approver", "Tran Thi B")


def elsewhere(*arguments: str | Path) -> str:
    """``wificrm connections`` on a computer that is not the box; what it printed."""
    command = [sys.executable, "-m", "captive.cli", "connections", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


class Logging(Venue):
    """A venue that keeps a connection log; the private key lies outside the box."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = self.gateway.home / "data"
        self.log = self.folder / "connections.db"
        self.key = self.run.folder / "stick.key"
        public = elsewhere("keygen", self.key).strip()
        with self.gateway.settings.open("a") as settings:
            settings.write(
                f'\n[connection_log]\nenabled = true\nmacs = "clear"\npath = "{self.log}"\npublic_key = "{public}"\n'
            )

    def restart_portal(self) -> None:
        """As systemd does: SIGTERM, and then anew."""
        self.gateway.stop("portal")
        self.gateway.start_portal()
        self.gateway.wait()

    def send_away(self, phone: Phone) -> None:
        """End the phone's grant."""
        with sqlite3.connect(self.folder / "access.db", timeout=10) as access:
            access.execute("INSERT INTO wish (device, verb) VALUES (?, 'end')", (f"guest {phone.mac}",))
        assert eventually(lambda: not is_online(phone))

    def export(self, name: str, *more: str) -> list[dict[str, str]]:
        """What an export of yesterday to tomorrow says, opened by its reader."""
        sealed, paper, phrase = (self.run.folder / f"{name}.{end}" for end in ("sealed", "csv", "phrase"))
        phrase.write_text("one long sentence of words")
        days = [f"{datetime.now() + timedelta(days=n):%Y-%m-%d}" for n in (-1, 1)]  # noqa: DTZ005 - a day more or less
        self.gateway.wificrm(
            "connections", "export", "--key", self.key, "--from", days[0], "--to", days[1], *PEOPLE, *more,
            "--passphrase-file", phrase, "-o", sealed,
        )  # fmt: skip
        elsewhere("open", sealed, "--passphrase-file", phrase, "-o", paper)
        return list(csv.DictReader(io.StringIO(Path(paper).read_text("utf-8-sig"))))


@pytest.fixture(scope="module")
def logging() -> Iterator[Logging]:
    with Logging() as venue:
        yield venue


def test_who_had_which_leased_address_from_when_to_when(logging: Logging) -> None:
    phone, stays = logging.phone(), logging.phone()
    for each in (phone, stays):
        each.join()
        skip(each)
        for address in (STRAY4, STRAY6):
            with closing(each.flow(address)) as flow:
                assert flow.grows()
    six = stays.address6
    assert six
    logging.restart_portal()
    logging.send_away(phone)
    logging.restart_portal()
    assert is_online(stays)

    [row] = logging.export("one", "--address", phone.address4)
    assert row["device"] == phone.mac
    assert row["network"] == "guest"
    assert phone.address6 in row["addresses"], "whichever family it spoke to the portal in"
    assert datetime.fromisoformat(row["time_on"]) <= datetime.fromisoformat(row["time_off"])
    rows = logging.export("two", "--address", six)
    assert [(row["device"], row["time_off"]) for row in rows] == [(stays.mac, "")], rows

    owner = logging.log.stat()
    assert owner.st_mode & 0o077 == 0
    logging.send_away(stays)  # root has written its audit lines; the portal goes on as nobody
    logging.restart_portal()
    assert logging.log.stat().st_uid == owner.st_uid
    [row] = logging.export("three", "--address", stays.address4)
    assert row["time_off"]
    assert "connection log: on, sealed to key" in logging.gateway.wificrm("doctor", "--quick")
    assert "unbroken" in logging.gateway.wificrm("connections", "audit")
    for name in ("portal", "gate"):
        said = logging.gateway.log(name)
        assert phone.mac not in said
        assert phone.address4 not in said
