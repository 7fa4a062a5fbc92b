"""Settings changed while the gateway's processes run: what was applied last holds, nobody puts back the former."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from captive.box.applied import MEMORY, Memory, Wish, mark_of
from crm.settings import Network, Settings
from tests.captive.small_venue import SmallVenue, eventually, needs_root, small_venue
from tests.waiting import LONG

WATCH = (
    "import asyncio; from captive.box import watch; watch.UP_SECONDS = watch.LOOK_SECONDS = 0.2;"
    " asyncio.run(watch.watch(settings, asyncio.Event()))"
)
ROUTER_ONLY = '[portal]\nname = "p.example"\ncertificate = "/no"\nkey = "/no"\n[[router]]\nname = "hall1"\n'


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[SmallVenue]:
    with small_venue(tmp_path / "venue") as made:
        wificrm(made, "gateway", "apply")
        yield made


def words(venue: SmallVenue, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "captive.cli", *arguments, "--config", str(venue.config)]


def wificrm(venue: SmallVenue, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = venue.box.run(*words(venue, *arguments), check=False)
    assert done.returncode == 0, done.stderr
    return done


def add(venue: SmallVenue, line: str) -> None:
    venue.config.write_text(venue.config.read_text() + f"{line}\n")


def ruleset(venue: SmallVenue) -> str:
    return venue.box.run("nft", "list", "ruleset").stdout


@needs_root
@pytest.mark.lab
def test_gate_and_watch_leave_what_was_applied_and_end_to_be_started_with_it(venue: SmallVenue):
    gate = venue.box.start(*words(venue, "gate"))
    watch = venue.box.start(*venue._python(WATCH))
    assert gate.stdout
    assert watch.stdout
    assert "gate open" in gate.stdout.readline()
    add(venue, 'lease = "17m"\ngrant = { up_mb = 7 }')
    assert (
        "changed since they were applied"
        in venue.box.run(*words(venue, "gateway", "check"), check=False).stdout
    )
    wificrm(venue, "gateway", "apply")
    assert wificrm(venue, "gateway", "check").stdout == "nothing to complain of\n"
    assert eventually(lambda: None not in (gate.poll(), watch.poll()))
    assert (gate.wait(), watch.wait()) == (0, 0)
    assert "other settings were applied" in gate.stdout.read()
    assert "spent_up_guest_7" in ruleset(venue)
    assert ",17m\n" in (Path(venue.settings.state) / "dnsmasq.conf").read_text()
    for process in (gate, watch):
        assert process.stdout
        process.stdout.close()


@needs_root
@pytest.mark.lab
def test_a_gateway_whose_guests_went_to_thin_routers_is_taken_down(venue: SmallVenue):
    text = venue.config.read_text()
    venue.config.write_text(text.partition("[network]")[0] + ROUTER_ONLY)
    for _ in range(2):
        assert "no guests of its own" in wificrm(venue, "gateway", "apply").stdout
        assert ruleset(venue) == ""
    assert "dnsmasq" not in venue.box.run("ss", "-Hlunp").stdout
    # A table of that name is then a thin router's on the same box.
    venue.box.nft("table inet wificrm {\n\tchain its {\n\t}\n}\n")
    for verb in ("apply", "remove"):
        wificrm(venue, "gateway", verb)
        assert "chain its" in ruleset(venue)


@needs_root
@pytest.mark.lab
def test_a_process_without_work_ends_when_there_is_some(venue: SmallVenue):
    wificrm(venue, "gateway", "remove")
    text = venue.config.read_text()
    venue.config.write_text(text.partition("[network]")[0] + ROUTER_ONLY)
    gate = venue.box.start(*words(venue, "gate"))
    assert gate.stdout
    assert "no guests of its own" in gate.stdout.readline()
    venue.config.write_text(text)
    wificrm(venue, "gateway", "apply")
    assert gate.wait(LONG) == 0
    gate.stdout.close()


def test_what_was_not_applied_yet_ends_nobody_and_what_was_taken_down_stays_so(tmp_path: Path):
    one = Settings(state=str(tmp_path))
    other = Settings(state=str(tmp_path), networks=(Network(lease="17m"),))

    def remember(settings: Settings) -> None:
        (tmp_path / MEMORY).write_bytes(msgspec.json.encode(Memory(settings=mark_of(settings))))

    started_first = Wish(one)
    assert started_first.objection() == ""
    remember(one)
    assert started_first.objection() == ""
    with_an_edit_of_the_file = Wish(other)
    assert not with_an_edit_of_the_file.outdated()
    remember(other)
    assert started_first.outdated()
    assert "other settings" in started_first.objection()
    (tmp_path / MEMORY).unlink()
    assert "taken down" in started_first.objection()
    assert not started_first.outdated()


@needs_root
@pytest.mark.lab
@pytest.mark.parametrize("text", ["[venue\n", None], ids=["broken", "gone"])
def test_what_stands_can_be_taken_away_with_settings_that_do_not_hold(tmp_path: Path, text: str | None):
    """In a mount namespace of its own, for it is the folder of a real box that is tidied then."""
    with small_venue(tmp_path / "venue") as venue:
        usual = venue.config.read_text().partition("\n")[2]  # without a folder of its own
        venue.config.write_text(usual)
        apply, remove = (" ".join(words(venue, "gateway", verb)) for verb in ("apply", "remove"))
        spoil = f"printf '[venue\\n' >{venue.config}" if text else f"rm {venue.config}"
        script = (
            f"mount -t tmpfs none /run; {apply} && {spoil} && {remove}; echo $?; ls /run; nft list ruleset"
        )
        done = venue.box.run("unshare", "--mount", "sh", "-c", script)
        assert done.stdout == "0\n"
        assert "taken away all the same" in done.stderr
        assert "dnsmasq" not in venue.box.run("ss", "-Hlunp").stdout
