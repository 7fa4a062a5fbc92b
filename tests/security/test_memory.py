"""Case 5: what comes and goes leaves nothing behind; what is kept of devices has bounds.

CVE-2023-41102, CVE-2024-25763 (openNDS 571, 600: leak, double free), and its ``send_json``, which dies of one
``Accept: application/captive+json``.
"""

from pathlib import Path

import pytest

import captive.grants.policy
import captive.portal.door
from captive.gateway import GateClient, GatewayError, OpenGateway, Terms
from captive.kernel.neighbours import Loopback
from captive.portal.door import Door
from tests.captive.small_venue import needs_root, small_venue
from tests.captive.test_grants import DAY, Clock, access, make, rows
from tests.lab.loopback import Portal
from tests.security.conftest import NewStranger
from tests.security.stranger import Stranger

__all__ = ["access"]

ROUNDS, GUESTS = 150, 12
MAY_GROW = 6_000
"""KiB that a portal may grow in all rounds together: less than 4 for each visit."""


def memory(pid: int) -> int:
    """What process *pid* holds now, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def visit(guest: Stranger) -> None:
    """What a phone does in a visit, probes and mistakes included."""
    guest.get("/generate_204", host="connectivitycheck.gstatic.com")
    guest.get("/captive-portal/api", headers="Accept: application/captive+json\r\n")
    guest.get("/en", headers="Accept-Encoding: gzip\r\n")
    guest.get("/en/online")
    guest.get("/en/survey/A0?r=forged")
    guest.post("/en/survey/A0", {"r": "forged", "value": "x" * 2000})
    guest.post("/en/skip")


def test_the_portal_stays_as_big_as_it_is(new_stranger: NewStranger, portal: Portal) -> None:
    """A soak: the same guests come again and again."""
    guests = [new_stranger() for _ in range(GUESTS)]
    for _ in range(20):  # what is kept for good is there now
        for guest in guests:
            visit(guest)
    before = memory(portal._pid)
    for number in range(ROUNDS):
        visit(guests[number % GUESTS])
    assert memory(portal._pid) - before < MAY_GROW / 10
    for _ in range(ROUNDS // 10):
        for guest in guests:
            visit(guest)
    assert memory(portal._pid) - before < MAY_GROW


async def test_going_online_and_leaving_leaves_nothing(access, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred devices, five times: the book is empty, and so are the store and the kernel."""
    kernel = OpenGateway()
    grants = await make(access, kernel, Clock())
    devices = [f"guest 02:00:00:00:01:{number:02x}" for number in range(200)]
    for _ in range(5):
        for device in devices:
            await grants.grant(device)
        for device in devices:
            await grants.forget(device)
    assert not grants._held
    assert not any(grants.was_asked(device) for device in devices)
    assert await kernel.list() == {}
    assert await rows(access, "grant") == await rows(access, "asked") == []


async def test_a_device_with_a_new_mac_each_time_fills_no_memory(
    access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visits, marks and grants are bounded; what goes beyond is refused and not written down."""
    monkeypatch.setattr(captive.portal.door, "MAX_VISITS", 50)
    monkeypatch.setattr(captive.grants.policy, "MAX_DEVICES", 20)
    grants = await make(access, OpenGateway(), Clock())
    door = Door(grants, Loopback("guest"), b"k" * 32, "V")
    await door.start_day(DAY)
    refused = 0
    for number in range(200):
        device = f"guest 02:00:00:00:02:{number:02x}"
        door.visit(device).wanted = "http://neverssl.example/"
        try:
            await grants.grant(device)
        except GatewayError:
            refused += 1
    assert len(door._visits) == 50
    assert refused == 180
    assert len(grants._held) == len(await rows(access, "grant")) == len(await rows(access, "asked")) == 20


@needs_root
@pytest.mark.lab
async def test_the_gate_stays_as_big_as_it_is(tmp_path: Path) -> None:
    """Thousands of grants and ends through the C library that changes the kernel."""
    folder = tmp_path / "venue"
    with small_venue(folder) as venue:
        assert venue.command("box.apply(settings)").returncode == 0
        pid = venue.gate().pid
        client = GateClient(venue.settings.gate.socket)
        devices = [f"guest 02:00:00:00:03:{number:02x}" for number in range(250)]

        async def rounds(number: int) -> None:
            for _ in range(number):
                await client.allow({device: Terms(60) for device in devices})
                await client.list(counts=True)
                await client.deny(devices)

        await rounds(10)
        before = memory(pid)
        await rounds(40)
        assert memory(pid) - before < MAY_GROW
        await client.close()
