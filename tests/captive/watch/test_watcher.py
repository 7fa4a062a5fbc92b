"""What the watch tells whom, and what a technician meets who starts it."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from captive.alert_kinds import AlertKind
from captive.watch.alarms import Cause
from captive.watch.observer import Sighting
from captive.watch.roaming import Place
from captive.watch.watcher import Reporter
from crm.settings import Settings, Venue, Watch
from tests.captive.small_venue import SmallVenue, eventually, needs_root, small_venue
from tests.captive.watch import packets
from tests.captive.watch.test_webhook import Receiver, receiving
from tests.waiting import LONG, until

NONE = {kind.value: 0 for kind in AlertKind}
PLACE = Place("guest", "wlan1")
ROGUE = Sighting(
    Cause(AlertKind.ROGUE_DHCP, "dhcp4", PLACE),
    1,
    packets.octets(packets.MAC),
    packets.offer(server="10.1.2.3"),
)


def settings_for(folder: Path, receiver: Receiver | None = None) -> Settings:
    (folder / "state-watch").mkdir()
    watch = Watch(webhook=receiver.address if receiver else "", repeat_minutes=10)
    return Settings(state=str(folder / "state"), venue=Venue(code="HN-01"), watch=watch)


async def test_the_story_of_an_alert(tmp_path: Path):
    """Seen every ten seconds for 25 minutes, then never again: four messages, none of which names a device."""
    async with receiving() as receiver:
        reporter = Reporter(settings_for(tmp_path, receiver))
        with capture_logs() as said:
            for second in range(0, 3600, 10):
                if second <= 1500:
                    reporter.see(ROGUE, float(second))
                reporter.turn(float(second))
        await until(lambda: len(receiver.got) == 5)
        await reporter.close()
    assert [(each["state"], each["count"]) for each in receiver.got] == [
        *(("new", 1), ("goes on", 61), ("goes on", 121), ("goes on", 151)),
        ("over", 151),
    ]
    for message in receiver.got:
        assert (message["centre"], message["kind"], message["network"], message["port"]) == (
            *("HN-01", "rogue_dhcp", "guest", "wlan1"),
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+07:00", message["first"])
    assert [each["log_level"] for each in said] == ["warning"] * 4 + ["info"]
    assert all((each["kind"], each["port"]) == ("rogue_dhcp", "wlan1") for each in said)
    for name in (packets.MAC, packets.MAC.replace(":", ""), "10.1.2.3"):
        assert name not in str(said) + str(receiver.got)
    counters = msgspec.json.decode((tmp_path / "state-watch/watch.json").read_bytes())
    assert counters["alerts"] == NONE | {"rogue_dhcp": 4}
    assert list(counters["seen"]) == ["rogue_dhcp"]
    assert abs(counters["seen"]["rogue_dhcp"] - time.time()) < 60


async def test_the_state_is_there_from_the_start_and_written_now_and_then(tmp_path: Path):
    reporter = Reporter(settings_for(tmp_path))
    path = tmp_path / "state-watch/watch.json"
    reporter.turn(0.0)
    assert msgspec.json.decode(path.read_bytes()) == {"alerts": NONE, "seen": {}}
    assert path.stat().st_mode & 0o777 == 0o644
    path.unlink()
    for tenth in range(1, 20):
        reporter.see(ROGUE, tenth / 10)
        reporter.turn(tenth / 10)
    assert not path.exists(), "at most every two seconds, whatever is seen"
    reporter.turn(2.0)
    assert path.exists()
    path.unlink()
    reporter.turn(61.0)
    assert not path.exists()
    reporter.turn(62.0)
    assert path.exists(), "its age tells whether anybody watches"
    await reporter.close()


async def test_a_state_that_cannot_be_written_is_told_once(tmp_path: Path):
    reporter = Reporter(Settings(state=str(tmp_path / "nowhere/state")))
    with capture_logs() as said:
        for minute in range(5):
            reporter.turn(minute * 60.0)
        await reporter.close()
    assert [each["event"] for each in said] == ["the metrics will not hear of this watch"]


async def test_a_clock_that_was_never_set_dates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("captive.watch.watcher.is_sound", lambda _: False)
    async with receiving() as receiver:
        reporter = Reporter(settings_for(tmp_path, receiver))
        reporter.see(ROGUE, 0.0)
        await until(lambda: receiver.got)
        await reporter.close()
    assert receiver.got[0]["first"] is receiver.got[0]["last"] is None


def command(*arguments: str, before: str = "", config: Path | None = None) -> list[str]:
    script = f"{before}; from captive.cli import main; main({['watch', *arguments]!r} + {['--config', str(config)]!r})"
    return [sys.executable, "-c", script.removeprefix("; ")]


def test_without_scapy_it_says_what_to_install(tmp_path: Path):
    (tmp_path / "wificrm.toml").write_text("")
    without = command(before="import sys; sys.modules['scapy'] = None", config=tmp_path / "wificrm.toml")
    done = subprocess.run(without, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "apt-get install python3-scapy" in done.stderr
    assert "wificrm[watch]" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_a_terminal_is_shown_devices(tmp_path: Path):
    (tmp_path / "wificrm.toml").write_text("")
    show = command("--show", config=tmp_path / "wificrm.toml")
    done = subprocess.run(show, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "a terminal only" in done.stderr


@pytest.fixture
def venue(tmp_path: Path):
    with small_venue(tmp_path / "venue") as venue:
        yield venue


@needs_root
def test_it_needs_the_right_to_hear_and_says_so(venue: SmallVenue):
    words = command(config=venue.config)
    done = venue.box.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", *words, check=False)
    assert done.returncode == 1
    assert "needs root or CAP_NET_RAW" in done.stderr


@needs_root
def test_a_technician_at_a_terminal_sees_the_mac_and_the_server_and_nothing_is_kept(venue: SmallVenue):
    ours, theirs = pty.openpty()
    shown = subprocess.Popen(
        ["ip", "netns", "exec", venue.box.name, *command("--show", config=venue.config)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = ""

    def hears(words: str) -> bool:
        nonlocal said
        while select.select([ours], [], [], 0)[0]:
            said += os.read(ours, 65536).decode()
        return words in said

    try:
        assert eventually(lambda: hears("Listening at port0")), said
        assert "personal data" in said
        with venue.phone.socket(17, 3) as sock:  # AF_PACKET, SOCK_RAW
            sock.bind(("wlan0", 0))
            sock.send(packets.offer(server="10.1.2.3"))
        assert eventually(lambda: hears("server 10.1.2.3, router 10.1.2.3")), said
        assert f"rogue_dhcp dhcp4  port0 (guest)  {packets.MAC}  1" in said
    finally:
        shown.terminate()
        assert shown.wait(LONG) == 0
        os.close(ours)
    assert [path.name for path in venue.folder.iterdir()] == ["wificrm.toml"]


@needs_root
def test_ports_may_come_and_go_and_an_interface_may_be_no_bridge(venue: SmallVenue):
    venue.config.write_text(venue.config.read_text() + 'interface = "port9"\n')
    process = venue.box.start(*command(config=venue.config))
    watch = venue.folder / "state-watch"
    watch.mkdir()

    def seen_since(plugged: float) -> bool:
        """Whether a router is seen, which plays one now."""
        with venue.phone.socket(17, 3) as sock:
            sock.bind(("desk0", 0))
            sock.send(packets.advertisement())
        counters = msgspec.json.decode((watch / "watch.json").read_bytes())
        return bool(counters["seen"].get("rogue_ra", 0) >= plugged)

    try:
        assert eventually((watch / "watch.json").exists)
        for times in (1, 2):
            plugged = time.time()
            venue.box.ip(
                f"link add port9 type veth peer name desk0 netns {venue.phone.name}", "link set port9 up"
            )
            venue.phone.ip("link set desk0 up")
            assert eventually(partial(seen_since, plugged)), times
            venue.box.ip("link delete port9")
        assert process.poll() is None
    finally:
        process.terminate()
        told, _ = process.communicate(timeout=LONG)
    assert "ports='none yet'" in told
    assert "port='port9'" in told
