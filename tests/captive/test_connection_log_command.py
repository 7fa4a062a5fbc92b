"""``wificrm connections`` as the technician and the official use it: keys, status, export, open, audit, purge."""

import asyncio
import contextlib
import csv
import hashlib
import io
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from nacl.public import SealedBox

import captive.commands.connections
from captive.cli import main
from captive.connections.audit import link
from captive.connections.keys import find_public
from captive.connections.log import ConnectionLog
from captive.connections.records import Event, pack
from captive.connections.store import insert_records, opened, select_audit, transaction
from crm.settings_file import load_settings
from tests.waiting import LONG

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NOW = datetime.now(UTC)
TODAY = NOW.astimezone(ZONE).date()
PEOPLE = ("--reason", "Công văn 123/PA05", "--requester", "Nguyễn Văn A", "--approver", "Trần Thị B")
CLI = (sys.executable, "-m", "captive.cli", "connections")


def connections(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return wificrm("connections", *arguments)


def wificrm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``wificrm`` in this process, for speed; the first test below starts it as users do."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([*map(str, arguments)])
        except SystemExit as done:
            code = int(done.code or 0)
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def started(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*CLI, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


Run = Callable[..., subprocess.CompletedProcess[str]]


class Box:
    """A box with settings and a log; the private key lies elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "wificrm.toml"
        self.log = folder / "connections.db"
        self.key = folder / "stick.key"
        self.phrase = folder / "phrase"
        self.phrase.write_text("một câu thật dài\n")
        told = connections("keygen", self.key)
        assert told.returncode == 0
        self.public = told.stdout.strip()
        self.config.write_text(
            f'[connection_log]\nenabled = true\nmacs = "clear"\npublic_key = "{self.public}"\npath = "{self.log}"\n'
        )

    def write(self, *connections_: tuple[str, str, int, int]) -> None:
        """Record (MAC, address, minutes ago on, minutes ago off)."""
        settings = load_settings(self.config)
        now = [0.0]
        log = ConnectionLog(settings, find_public(self.public), lambda: NOW, monotonic=lambda: now[0])
        steps = [(-on, "on", mac, address) for mac, address, on, _ in connections_]
        steps += [(-off, "off", mac, address) for mac, address, _, off in connections_]
        for minutes, kind, mac, address in sorted(steps):
            now[0] = minutes * 60.0
            if kind == "on":
                log.began(f"guest {mac}", address)
            else:
                log.ended(f"guest {mac}", "expired")
        now[0] = 0.0
        assert asyncio.run(log.flush())

    def export(
        self, *more: str | Path, people: tuple[str, ...] = PEOPLE, run: Run = connections
    ) -> subprocess.CompletedProcess[str]:
        days = () if "--at" in more else ("--from", TODAY - timedelta(days=1), "--to", TODAY)
        return connections(
            "export", "--config", self.config, "--key", self.key, *map(str, days), *people, *more
        )

    def audit(self) -> list[dict[str, object]]:
        with opened(self.log) as conn:
            return [json.loads(line) for (line,) in conn.execute("SELECT line FROM audit ORDER BY n")]


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"))))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    box = Box(tmp_path)
    box.write(
        ("02:00:5e:10:00:0a", "192.168.50.12", 50, 20),
        ("02:00:5e:10:00:0b", "192.168.50.13", 40, 30),
        ("02:00:5e:10:00:0c", "192.168.50.12", 15, 5),  # the same address, leased anew
    )
    return box


def test_a_request_of_the_authorities_from_key_to_paper(box: Box, tmp_path: Path) -> None:
    reader = tmp_path / "reader.key"
    public = started("keygen", reader).stdout.strip()
    at = (NOW - timedelta(minutes=30)).astimezone(ZONE)
    sealed = tmp_path / "export.sealed"
    told = box.export(
        "--at",
        f"{at:%Y-%m-%d %H:%M}",
        "--address",
        "192.168.50.12",
        "--for",
        public,
        "-o",
        sealed,
        run=started,
    )
    assert told.returncode == 0, told.stderr
    assert "1 connections" in told.stdout
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert b"192.168" not in sealed.read_bytes()

    manifest = json.loads((tmp_path / "export.sealed.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(sealed.read_bytes()).hexdigest()
    assert (manifest["requester"], manifest["approver"]) == ("Nguyễn Văn A", "Trần Thị B")
    assert (manifest["sessions"], manifest["unopened"], manifest["lost"]) == (1, 0, 0)

    paper = tmp_path / "answer.csv"
    assert started("open", sealed, "--key", box.key, "-o", paper).returncode == 1, "not for the log's own key"
    assert not paper.exists()
    assert started("open", sealed, "--key", reader, "-o", paper).returncode == 0
    [row] = rows_of(paper)
    assert (row["device"], row["addresses"], row["note"]) == ("02:00:5e:10:00:0a", "192.168.50.12", "expired")
    on = datetime.fromisoformat(row["time_on"])
    assert abs((on - (NOW - timedelta(minutes=50))).total_seconds()) < 1
    assert on.utcoffset() == timedelta(hours=7)
    assert paper.stat().st_mode & 0o777 == 0o600

    key_line, begun, done = box.audit()
    assert key_line["act"] == "key"
    assert (begun["act"], begun["reason"], begun["filters"]) == (
        "export",
        "Công văn 123/PA05",
        ["address", "at"],
    )
    assert (done["act"], done["sessions"], done["sha256"]) == ("exported", 1, manifest["sha256"])
    assert b"192.168" not in box.log.read_bytes(), "what was asked about stands in the answer only"
    audit = started("audit", "--config", box.config, "--manifest", tmp_path / "export.sealed.manifest.json")
    assert audit.returncode == 0
    assert "3 lines, unbroken" in audit.stdout


def test_the_manifest_repeats_what_was_asked_and_a_whole_range_has_all(box: Box, tmp_path: Path) -> None:
    sealed, paper = tmp_path / "e", tmp_path / "e.csv"
    told = box.export("--passphrase-file", box.phrase, "-o", sealed)
    assert told.returncode == 0, told.stderr
    assert connections("open", sealed, "--passphrase-file", box.phrase, "-o", paper).returncode == 0
    assert [row["device"][-2:] for row in rows_of(paper)] == ["0b", "0a", "0c"]
    wrong = tmp_path / "wrong"
    wrong.write_text("ein anderer Satz")
    again = connections("open", sealed, "--passphrase-file", wrong, "-o", tmp_path / "f.csv")
    assert (again.returncode, "does not open with this passphrase" in again.stderr) == (1, True)
    assert not (tmp_path / "f.csv").exists()


@pytest.mark.parametrize("place", [0, 8, 30, 60, 200, -1])
def test_a_changed_or_cut_export_does_not_open(box: Box, tmp_path: Path, place: int) -> None:
    sealed = tmp_path / "e"
    assert box.export("--passphrase-file", box.phrase, "-o", sealed).returncode == 0
    whole = bytearray(sealed.read_bytes())
    whole[place] ^= 1
    for number, text in enumerate((bytes(whole), sealed.read_bytes()[:-10], sealed.read_bytes()[:50])):
        broken = tmp_path / f"broken{number}"
        broken.write_bytes(text)
        told = connections("open", broken, "--passphrase-file", box.phrase, "-o", tmp_path / "out.csv")
        assert told.returncode == 1
        assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("people", "code", "complaint"),
    [
        (PEOPLE[2:], 2, "--reason"),
        (PEOPLE[:2] + PEOPLE[4:], 2, "--requester"),
        (PEOPLE[:4], 2, "--approver"),
        (("--reason", " ", *PEOPLE[2:]), 1, "--reason must not be empty"),
        (("--reason", "a\nb c", *PEOPLE[2:]), 1, "--reason must be one line"),
        (("--reason", "x" * 301, *PEOPLE[2:]), 1, "300 are enough"),
        ((*PEOPLE[:4], "--approver", "nguyen van  a"), 1, "two different people"),
        ((*PEOPLE[:4], "--approver", "NGUYỄN VĂN A"), 1, "two different people"),
    ],
)
def test_without_a_reason_and_two_people_nothing_is_opened(
    box: Box, tmp_path: Path, people: tuple[str, ...], code: int, complaint: str
) -> None:
    told = box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e", people=people)
    assert (told.returncode, complaint in told.stderr) == (code, True), told.stderr
    assert not (tmp_path / "e").exists()
    assert len(box.audit()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--address", "x"], "is not an IP address"),
        (["--at", "noon"], "is not a time such as"),
        (["--from", "2026-12-01", "--to", "2026-11-01"], "swap them"),
        (["--for", "wcl-public-AAAA"], "not whole"),
        (["--key", "/nonexistent"], "the key cannot be read"),
        ([], "a passphrase is needed"),
    ],
)
def test_what_cannot_be_exported_is_told(
    box: Box, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    told = box.export(*arguments, "-o", tmp_path / "e")
    assert (told.returncode, complaint in told.stderr) == (1, True), told.stderr
    assert not (tmp_path / "e").exists()


def test_a_short_passphrase_and_a_file_that_is_there_are_refused(box: Box, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("kurz")
    assert "at least 12" in box.export("--passphrase-file", short, "-o", tmp_path / "e").stderr
    (tmp_path / "e").write_text("precious")
    assert "name another" in box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e").stderr
    assert (tmp_path / "e").read_text() == "precious"
    assert "cannot be written" in box.export("--passphrase-file", box.phrase, "-o", "/nonexistent/e").stderr


def test_a_wrong_key_opens_nothing_and_a_second_key_opens_the_rest(box: Box, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    public = connections("keygen", other).stdout.strip()
    old, box.key = box.key, other
    told = box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    assert (told.returncode, "opens none of the 6 records" in told.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir() if "e" in path.name.split(".")) == []
    assert [line["act"] for line in box.audit()] == ["key", "export"], "that it was tried is kept"
    box.config.write_text(box.config.read_text().replace(box.public, public))
    box.public = public
    box.write(("02:00:5e:10:00:0d", "192.168.50.14", 4, 3))
    told = box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    assert "6 of 8 records open with another key" in told.stdout
    told = box.export("--key", old, "--passphrase-file", box.phrase, "-o", tmp_path / "f")
    assert "4 connections" in told.stdout
    assert [line["act"] for line in box.audit()].count("key") == 2


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET line = replace(line, 'Công văn', 'Cong van') WHERE n = 2",
        "DELETE FROM audit WHERE n = 2",
        "UPDATE audit SET hash = x'00' WHERE n = 3",
        "DELETE FROM audit WHERE n = 1",
        "DELETE FROM audit WHERE n = 3",  # the end cut off: only the manifest knows
        "DELETE FROM audit",
    ],
)
def test_a_tampered_audit_is_found(box: Box, tmp_path: Path, tamper: str) -> None:
    box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    manifest = tmp_path / "e.manifest.json"
    with sqlite3.connect(box.log) as conn:
        with pytest.raises(sqlite3.IntegrityError, match="audit lines stay"):
            conn.execute(tamper)
        conn.execute("DROP TRIGGER audit_stays")
        conn.execute("DROP TRIGGER audit_is_kept")
        conn.execute(tamper)
    told = connections("audit", "--config", box.config, "--manifest", manifest)
    assert (told.returncode, "the audit was changed: line" in told.stderr) == (1, True)


def test_a_line_changed_with_its_own_hash_breaks_the_next(box: Box, tmp_path: Path) -> None:
    box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    with opened(box.log) as conn:
        first, second, _ = select_audit(conn)
    text = second.text.replace("Công văn", "Cong van")
    with sqlite3.connect(box.log) as conn:
        conn.execute("DROP TRIGGER audit_stays")
        changed = (text, link(first.hash, 2, text))
        conn.execute("UPDATE audit SET line = ?, hash = ? WHERE n = 2", changed)
    told = connections("audit", "--config", box.config)
    assert (told.returncode, "line 3 does not follow" in told.stderr) == (1, True)


def test_an_audit_written_anew_from_the_start_is_found_by_an_old_manifest(box: Box, tmp_path: Path) -> None:
    box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    box.log.unlink()
    box.write(("02:00:5e:10:00:0a", "192.168.50.12", 50, 20))
    for name in ("f", "g"):
        box.export("--passphrase-file", box.phrase, "-o", tmp_path / name)
    assert connections("audit", "--config", box.config).returncode == 0
    told = connections("audit", "--config", box.config, "--manifest", tmp_path / "e.manifest.json")
    assert (told.returncode, "is not the one that" in told.stderr) == (1, True)


class SameDay(datetime):
    """A clock that stands: days are counted to `TODAY`, also when midnight has passed since."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The moment at which this run of the tests began."""
        return NOW.astimezone(tz)


def test_purge_removes_what_is_old_and_more_with_a_reason(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captive.commands.connections, "datetime", SameDay)
    with opened(box.log) as conn, transaction(conn):
        for days in (400, 365, 364, 10):
            insert_records(conn, [(TODAY - timedelta(days=days), b"x")])
    told = connections("purge", "--config", box.config)
    assert told.stdout.startswith("2 records of days before"), told
    assert (
        "--reason must not be empty"
        in connections("purge", "--config", box.config, "--before", str(TODAY)).stderr
    )
    told = connections("purge", "--config", box.config, "--before", str(TODAY - timedelta(days=5)), *PEOPLE)
    assert told.stdout.startswith("2 records of days before")
    assert [line["act"] for line in box.audit()] == ["key", "purge", "purge"]
    assert (
        "in the future"
        in connections("purge", "--config", box.config, "--before", "2999-01-01", *PEOPLE).stderr
    )
    assert "6 records" in connections("status", "--config", box.config).stdout


def test_status_tells_how_it_stands(box: Box, tmp_path: Path) -> None:
    told = connections("status", "--config", box.config)
    assert told.returncode == 0
    assert re.search(r"on, sealed to key [0-9a-f]{16}; MACs clear; kept 365 days\n6 records, 20", told.stdout)
    off = tmp_path / "off.toml"
    off.write_text(f'[connection_log]\npath = "{box.log}"\n')
    assert connections("status", "--config", off).stdout.startswith(
        "off: no connection is recorded\n6 records"
    )
    box.log.write_bytes(b"x" * 4096)
    told = connections("status", "--config", box.config)
    assert (told.returncode, "damaged" in told.stdout) == (1, True)
    for verb in ("audit", "purge"):
        told = connections(verb, "--config", box.config)
        assert (told.returncode, "damaged" in told.stderr) == (1, True)
    box.log.unlink()
    assert "not there yet" in connections("status", "--config", box.config).stdout
    told = box.export("--passphrase-file", box.phrase, "-o", tmp_path / "e")
    assert (told.returncode, "there is no connection log here" in told.stderr) == (1, True)
    assert not box.log.exists()


def test_the_doctor_looks_at_it_too(box: Box, tmp_path: Path) -> None:
    rest = (
        f'[gate]\ngateway = "open"\n[store]\ncrm = "{tmp_path}/crm.db"\naccess = "{tmp_path}/access.db"\n'
        f"[portal]\nport = 1\n"
    )
    off = tmp_path / "off.toml"
    off.write_text(f'{rest}[connection_log]\npath = "{tmp_path}/none.db"\n')
    assert (
        "ok       connection log: off: no connection is recorded\n"
        in wificrm("doctor", "--config", off).stdout
    )
    box.config.write_text(rest + box.config.read_text())
    assert "ok       connection log: on, sealed to key " in wificrm("doctor", "--config", box.config).stdout
    with sqlite3.connect(box.log) as conn:
        conn.execute("DROP TRIGGER audit_stays")
        conn.execute("UPDATE audit SET line = ''")
    said = wificrm("doctor", "--config", box.config).stdout
    assert "FAULT    connection log: audit: changed at line 1" in said
    box.log.write_bytes(b"x" * 4096)
    assert "FAULT    connection log: " in wificrm("doctor", "--config", box.config).stdout
    box.config.write_text(box.config.read_text().replace(box.public, box.public[:-4]))
    assert (
        "FAULT    connection log: connection_log.public_key: "
        in wificrm("doctor", "--config", box.config).stdout
    )


def test_a_passphrase_is_asked_for_at_a_terminal(tmp_path: Path) -> None:
    def at_terminal(*arguments: str | Path, typed: str) -> tuple[int, str]:
        """Run with a terminal of its own, which is where passphrases are asked for and typed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, [*CLI, *map(str, arguments)])
        said = b""
        for line in typed.splitlines():
            said += until(terminal, b": ")
            os.write(terminal, line.encode() + b"\n")
        while piece := read(terminal):
            said += piece
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()

    def read(terminal: int) -> bytes:
        try:
            return os.read(terminal, 4096)
        except OSError:
            return b""

    def until(terminal: int, mark: bytes) -> bytes:
        said = b""
        while not said.endswith(mark) and (piece := read(terminal)):
            said += piece
        return said

    key = tmp_path / "locked.key"
    code, said = at_terminal(
        "keygen", key, "--passphrase", typed="correct horse battery\ncorrect horse batterx\n"
    )
    assert (code, "differ" in said) == (1, True)
    assert not key.exists()
    code, said = at_terminal(
        "keygen", key, "--passphrase", typed="correct horse battery\ncorrect horse battery\n"
    )
    assert (code, "wcl-public-" in said, "horse" in said) == (0, True, False)
    assert "wcl-locked-" in key.read_text()
    assert "wcl-secret-" not in key.read_text()


def test_stopped_in_the_middle_nothing_half_is_left(box: Box, tmp_path: Path) -> None:
    seal = SealedBox(find_public(box.public)).encrypt
    with opened(box.log) as conn, transaction(conn):
        at = int(NOW.timestamp())
        insert_records(
            conn, [(TODAY, seal(pack(Event("on", at, f"{n}", "guest", f"d{n}")))) for n in range(30_000)]
        )
    arguments = ["export", "--config", box.config, "--key", box.key, "--from", TODAY, "--to", TODAY, *PEOPLE]
    arguments += ["--passphrase-file", box.phrase, "-o", tmp_path / "e"]
    with subprocess.Popen([*CLI, *map(str, arguments)], stderr=subprocess.PIPE, text=True) as export:
        deadline = time.monotonic() + LONG
        while len(box.audit()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        export.send_signal(signal.SIGINT)
        _, said = export.communicate(timeout=LONG)
    assert export.returncode == 130, said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir() if path.name.lstrip(".").startswith("e")] == []
    assert [line["act"] for line in box.audit()] == ["key", "export"]
