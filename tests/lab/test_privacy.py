"""With the whole disk in hand, could anybody tell who answered what?"""

import base64
import contextlib
import random
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from tests.captive.metrics.scrapes import gained, read
from tests.captive.metrics.scrapes import value as figure
from tests.lab.client import Client
from tests.lab.crowd import Crowd, Device
from tests.lab.disk import order_tells, packed_moments, spellings, values_of
from tests.lab.gateway import ADDRESS4, ADDRESS6, BRIDGE, ZONE
from tests.lab.journey import answer_all, open_portal, skip
from tests.lab.page import Page
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

SIZE = 60
FEW = 18
"""Guests after whom the disk is copied for the first time: what they wrote fills no page yet."""

BY_CHANCE = 1e-8
"""Below this probability an order is said to be readable. It is looked for in some thirty ways: chance alone fails
fewer than one run in a million."""


class Scene(NamedTuple):
    """A small centre's day, and copies of its disk."""

    venue: Venue
    devices: list[Device]  # in the order in which they came
    responses: list[UUID]  # of those devices, in the same order
    copies: Path
    began: datetime
    scrapes: list[str]  # of the figures: before the first came, after she answered, after another skipped


def response_of(page: Page) -> UUID:
    """The response that *page*'s form writes to: the signed token begins with its id."""
    assert page.survey
    return UUID(bytes=base64.urlsafe_b64decode(page.survey.fields["r"])[:16])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Sixty guests came one after the other and answered; then things went wrong; then the disk was copied."""
    with contextlib.ExitStack() as stack:
        venue = stack.enter_context(Venue(prefix4=23))
        venue.gateway.start_watch()
        venue.gateway.start_alarms()
        crowd = Crowd(venue.run, venue.gateway.namespace, BRIDGE, SIZE + 1, venue.authority.certificate)
        stack.callback(crowd.close)
        crowd.join()
        devices = random.Random(17).sample(crowd.devices, SIZE)
        began = datetime.now(UTC)
        scrapes = [scrape(venue, "before")]
        responses = [come_and_answer(devices[0])]
        scrapes.append(scrape(venue, "answered"))
        skip(next(device for device in crowd.devices if device not in devices))
        scrapes.append(scrape(venue, "skipped"))
        responses += [come_and_answer(device) for device in devices[1:FEW]]
        copies = tmp_path_factory.mktemp("disk")
        copy_disk(venue, copies / "early", responses)
        responses += [come_and_answer(device) for device in devices[FEW:]]
        provoke_the_logs(venue, devices[0])
        phone = venue.phone()
        phone.join()
        skip(phone)
        scrape(venue, "late")
        copy_disk(venue, copies / "late", responses)
        yield Scene(venue, devices, responses, copies, began, scrapes)


def scrape(venue: Venue, name: str) -> str:
    """The figures, kept with the logs: what is looked for in those is looked for in these."""
    time.sleep(1.1)  # the same is told again for a second
    text = venue.gateway.told()
    (venue.gateway.home / f"log/metrics-{name}.log").write_text(text)
    return text


def copy_disk(venue: Venue, folder: Path, responses: list[UUID]) -> None:
    """Take the files of both stores after a moment of quiet, as between any two guests of a small centre.

    How long a moment is depends on who else uses the machine: it is over when the order of *responses* is gone.
    """

    def has_rested() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with venue.gateway.frozen("portal"):
            for name in ("crm", "access"):
                for file in venue.gateway.store_files(name):
                    shutil.copy(file, folder)
        return not any(
            tells_order(file, responses, within) for file in folder.glob("crm.db*") for within in (4096, 0)
        )

    time.sleep(1)
    eventually(has_rested, within=30, every=1)  # the tests judge what was copied last


def tells_order(file: Path, arrived: list[UUID], within: int) -> bool:
    """Whether the order in which responses *arrived* can be read off *file*."""
    return order_tells(file.read_bytes(), arrived, within=within) <= BY_CHANCE


def come_and_answer(device: Device) -> UUID:
    """One guest: opens the portal, answers; every third says more than needed about herself."""
    page = open_portal(device)
    response = response_of(page)
    comment = f"call me on 0912 345 {device.number:03d}" if device.number % 3 == 0 else ""
    given = {"A0": "done", "A1": str(device.number % 5 + 1), "A2": "nothing", "A4": comment}
    answer_all(device, page, given)
    time.sleep(0.12)
    return response


def provoke_the_logs(venue: Venue, client: Client) -> None:
    """Everything that a program could be tempted to write down: nonsense, errors, refusals, restarts."""
    for data in (
        b"\x16\x03\x01garbage",
        b"GET / HTTP/9.9\r\n\r\n",
        b"ODD \xff\xfe HTTP/1.1\r\nHost: \x00\r\n\r\n",
    ):
        for port in (80, 443):
            with contextlib.suppress(OSError), client.connect(ADDRESS4, port, timeout=1) as sock:
                sock.sendall(data)
                sock.recv(1000)
    client.get("https://portal.lab.example/en/no-such-page")
    client.post("https://portal.lab.example/en/survey/A0", {"r": "forged", "value": "done"})
    venue.gateway.kill9("gate")
    fresh = venue.phone()
    fresh.join()
    page = open_portal(fresh)
    assert page.skip
    fresh.post(page.address(page.skip.action), page.skip.fields, timeout=15)
    venue.gateway.start_gate()
    venue.gateway.kill9("portal")
    settings = venue.gateway.settings
    settings.write_text(settings.read_text().replace('level = "debug"', 'level = "debug"\nformat = "json"'))
    venue.gateway.start_portal()
    venue.gateway.wait()
    venue.gateway.wificrm("gateway", "apply")


def all_spellings(scene: Scene) -> Iterator[tuple[str, bytes]]:
    """Every spelling of every device that was in the venue."""
    there = [(device.mac, [device.address4]) for device in scene.devices]
    there += [(phone.mac, [phone.address4, phone.address6]) for phone in scene.venue.phones]
    for mac, addresses in there:
        for name, octets in spellings(mac, *addresses).items():
            yield f"{mac}: {name}", octets


def test_no_device_stands_in_the_answers_or_in_a_log(scene: Scene) -> None:
    files = [*scene.copies.glob("*/crm.db*"), *scene.venue.gateway.logs]
    assert len(files) >= 4
    assert any(file.stat().st_size for file in scene.venue.gateway.logs)
    needles = list(all_spellings(scene))
    assert len(needles) > 10 * SIZE
    for file in files:
        data = file.read_bytes()
        found = [name for name, octets in needles if octets in data]
        assert found == [], file


def test_both_forms_of_the_log_and_the_figures_are_searched(scene: Scene) -> None:
    gateway = scene.venue.gateway
    assert 'event="serving"' in gateway.log("portal").replace("'", '"')
    assert '"event":"serving"' in gateway.log("portal")
    names = {log.name for log in gateway.logs}
    assert {"portal.log", "gate.log", "advertiser.log", "watch.log", "alarms.log"} <= names
    assert figure(read(gateway.log("metrics-late")), "wificrm_watch_running") == 1
    assert sum(name.startswith("metrics-") for name in names) == 4
    assert "wificrm_dhcp_pool_used_ratio" in gateway.log("metrics-late")


def test_figures_tell_the_same_of_who_answers_and_who_skips(scene: Scene) -> None:
    before, answered, skipped = map(read, scene.scrapes)
    assert gained(before, answered) == gained(answered, skipped)
    assert figure(skipped, "wificrm_grants_total", place="guest", outcome="granted") == 2
    assert figure(skipped, "wificrm_portal_shown_total", place="guest") == 2
    assert figure(skipped, "wificrm_devices_redirected_total", place="guest") == 2
    assert figure(skipped, "wificrm_devices_joined_total", place="guest") == 2


def test_the_search_finds_what_is_there(scene: Scene) -> None:
    """The access store may hold the MACs of running grants: the same search must find them."""
    data = b"".join(file.read_bytes() for file in scene.copies.glob("late/access.db*"))
    assert any(octets in data for _, octets in all_spellings(scene))


def test_a_log_line_names_no_guest_network_address_at_all(scene: Scene) -> None:
    for log in scene.venue.gateway.logs:
        text = log.read_text(errors="replace")
        for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text):
            assert not address.startswith("192.168.5") or address == ADDRESS4, (log, address)
        assert not re.search(r"fd50:7c3a:1:(?!:1\b)", text), log
        assert not re.search(r"(?i)\b[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}\b", text), log
    assert ADDRESS6


def test_the_two_stores_share_nothing_that_joins_them(scene: Scene) -> None:
    crm, access = values_of(scene.copies / "late/crm.db"), values_of(scene.copies / "late/access.db")
    alembic = {"alembic_version.version_num"}
    shared = {
        (one, other, value)
        for one, ours in crm.items()
        for other, theirs in access.items()
        for value in ours & theirs
        if value not in (None, 0) and not {one, other} & alembic  # nothing counted joins nobody
    }
    day = scene.began.astimezone(ZONE).date().isoformat()
    assert {value for _, _, value in shared} <= {day}


def test_answers_know_no_time_finer_than_the_part_of_the_day(scene: Scene) -> None:
    low, high = scene.began.timestamp() - 86400, scene.began.timestamp() + 86400
    local = scene.began.astimezone(ZONE).date().isoformat()
    for column, values in values_of(scene.copies / "late/crm.db").items():
        for value in values:
            assert not packed_moments(value, lambda moment: low < moment < high), (column, value)
            if isinstance(value, str) and local in value:
                assert value == local, (column, value)
    for file in scene.copies.glob("*/crm.db*"):
        assert not re.search(rb"20\d\d-\d\d-\d\d[ T]\d\d:\d\d", file.read_bytes()), file


def test_personal_numbers_never_reached_the_disk(scene: Scene) -> None:
    for file in scene.copies.glob("*/crm.db*"):
        assert b"0912 345" not in file.read_bytes()
        assert b"0912345" not in file.read_bytes()


def test_every_response_is_on_the_disk_that_is_searched(scene: Scene) -> None:
    data = (scene.copies / "late/crm.db").read_bytes()
    assert all(response.hex.encode() in data or response.bytes in data for response in scene.responses)


@pytest.mark.parametrize("within", [4096, 0], ids=["within a page", "over the whole file"])
@pytest.mark.parametrize("moment", ["early", "late"])
def test_the_order_on_the_disk_is_not_that_of_arrival(scene: Scene, moment: str, within: int) -> None:
    """A page of a database keeps what was written last where it was written: that, too, is an order."""
    arrived = scene.responses[:FEW] if moment == "early" else scene.responses
    for file in scene.copies.glob(f"{moment}/crm.db*"):
        assert not tells_order(file, arrived, within), file


@pytest.mark.parametrize("broken", ["a table in the order of arrival", "rows never moved within their page"])
def test_an_order_of_arrival_would_be_found(scene: Scene, tmp_path: Path, broken: str) -> None:
    path = tmp_path / "broken.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as store:
        rowid = "" if broken.startswith("a table") else "WITHOUT ROWID"
        store.execute(f"CREATE TABLE response (id TEXT PRIMARY KEY, answers TEXT) {rowid}")
        for response in scene.responses:
            store.execute("INSERT INTO response VALUES (?, ?)", (response.hex, "{}"))
    assert order_tells(path.read_bytes(), scene.responses) < BY_CHANCE
