"""The whole examination: the box by itself, then a phone on each of its guests' networks, all at once."""

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from captive.box.applied import Wish, meant_up
from captive.certificate import Verdict, judge, judge_served
from captive.doctor.certificate import look_at_certificate
from captive.doctor.clock import look_at_clock
from captive.doctor.finding import Finding, Notes, Part
from captive.doctor.join import join, others
from captive.doctor.machine import look_at_machine
from captive.doctor.names import names
from captive.doctor.online import online
from captive.doctor.phone.handset import Handset, find_link
from captive.doctor.phone.joining import release
from captive.doctor.play import Box, Play, StoppedError
from captive.doctor.portal import portal
from captive.doctor.processes import is_here, look_at_processes
from captive.doctor.radio import look_at_radios
from captive.doctor.readiness import ask_portal
from captive.doctor.routers import look_at_routers
from captive.doctor.stores import look_at_stores
from captive.doctor.trial import Trials, open_trials
from captive.doctor.uplink import Uplink, look_at_uplink
from captive.doctor.walls import walls
from captive.doctor.watch import look_at_watch
from crm.commands_here import to_apply_settings
from crm.errors import SetupError, UserError
from crm.settings import Network, Settings

PHONE, ITSELF, SETTINGS = "A phone", "the doctor itself", "settings"
PLAYED: tuple[Part, ...] = ("join", "names", "portal", "walls", "online")
"""What a phone does, in this order."""
_STALE = "changed since they were applied: all still runs by the former ones, and is looked at once these are applied"


async def examine(settings: Settings, parts: Collection[Part] = ()) -> list[Finding]:
    """Look at the box; and play *parts* of what a phone does on each of its networks."""
    findings: list[Finding] = []
    uplink, verdict = Uplink(four=True, six=False, resolvers=True), Verdict("not looked at")
    with _going_on(findings):
        findings += await look_at_stores(settings)
    if is_stale := settings.gate.gateway != "open" and Wish(settings).differs():
        findings.append(
            Finding(
                SETTINGS,
                "fault",
                _STALE,
                f"run: {to_apply_settings()}; wificrm gateway check names what is in its way",
            )
        )
    else:
        with _going_on(findings):
            findings += await look_at_processes(settings)
        with _going_on(findings):
            findings += ask_portal(settings, _faults(findings))
    with _going_on(findings):
        findings += look_at_radios(settings)
    with _going_on(findings):
        findings += look_at_routers(settings)
    with _going_on(findings):
        findings += look_at_watch(settings)
    if settings.gate.gateway != "open" and settings.networks:
        with _going_on(findings):
            uplink, found = await asyncio.to_thread(look_at_uplink, settings)
            findings += found
    with _going_on(findings):
        findings += look_at_clock(uplink.ahead)
    if not is_stale:
        with _going_on(findings):
            verdict = (judge_served if is_here(settings.own_address) else judge)(settings)
            findings += look_at_certificate(settings, verdict, uplink.ahead)
    with _going_on(findings):
        findings += look_at_machine(settings)
    if parts and not is_stale:
        with _going_on(findings):
            findings += await _play_phones(Box(settings, verdict, uplink, _faults(findings)), parts)
    return findings


def _faults(findings: list[Finding]) -> frozenset[str]:
    return frozenset(each.what for each in findings if each.state == "fault")


@contextmanager
def _going_on(findings: list[Finding], part: Part = "box", network: str = "") -> Iterator[None]:
    """Note what goes wrong with the doctor itself, and go on: whatever else is told still holds."""
    try:
        yield
    except StoppedError:
        raise
    except (SetupError, UserError) as error:
        findings.append(Finding(ITSELF, "fault", str(error), "see what it says", network, part))
    except Exception as error:
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        where = f"{Path(frame.f_code.co_filename).name}, line {line}"
        told = f"failed here ({type(error).__name__} in {where}): this part is not told to its end"
        findings.append(Finding(ITSELF, "fault", told, "report this line; the rest holds", network, part))


async def _play_phones(box: Box, parts: Collection[Part]) -> list[Finding]:
    settings, notes = box.settings, Notes()
    if settings.gate.gateway == "open":
        notes.skip(PHONE, "cannot be played where gate.gateway is open: nothing stands in its way")
    elif not settings.networks:
        notes.skip(PHONE, "cannot be played: this box has no guests of its own; ask its routers")
    elif not meant_up(settings):
        notes.skip(PHONE, "cannot be played while the gateway is not up (above)")
    elif os.geteuid() != 0:
        notes.skip(PHONE, "is played by root only: run it with sudo")
    else:
        return await _play_all(box, parts)
    return notes.findings


async def _play_all(box: Box, parts: Collection[Part]) -> list[Finding]:
    stop, loop, networks = threading.Event(), asyncio.get_running_loop(), box.settings.networks
    pool = ThreadPoolExecutor(len(networks))
    async with open_trials(box.settings) as trials:
        playing = [loop.run_in_executor(pool, _play, box, each, trials, parts, stop) for each in networks]
        try:
            return [
                finding for each in await asyncio.gather(*map(asyncio.shield, playing)) for finding in each
            ]
        except BaseException:  # Ctrl-C, most often: whoever is online is sent back first
            stop.set()
            await asyncio.gather(*playing, return_exceptions=True)
            raise
        finally:
            pool.shutdown(wait=False)


def _play(
    box: Box, network: Network, trials: Trials, parts: Collection[Part], stop: threading.Event
) -> list[Finding]:
    """One phone from its joining to its leaving; runs in a thread of its own."""
    notes = Notes("join", network.name)
    with _going_on(notes.findings, "join", network.name), suppress(StoppedError):
        phone = _make_phone(notes, network)
        if phone:
            with closing(phone), closing(Play(box, network, phone, trials, stop)) as play:
                try:
                    notes.findings += _play_parts(play, parts)
                finally:
                    with suppress(OSError):
                        if play.lease:
                            release(phone, play.lease)
    return notes.findings


def _make_phone(notes: Notes, network: Network) -> Handset | None:
    """A phone on *network*; None where none can be, which is noted."""
    name, link = network.interface, find_link(network.interface)
    if link is None:
        notes.skip(PHONE, f"cannot be played: there is no interface {name} (above)")
    elif not link.is_bridge:
        notes.warn(
            PHONE,
            f"cannot be played: {name} is no bridge, so nothing can be plugged in beside the guests",
            f"try it with a real one; or make a bridge with {name} as its port",
        )
    elif not link.is_up:
        notes.skip(PHONE, f"cannot be played: {name} is down (above)")
    elif not is_here(str(network.net4.ip)):
        notes.skip(PHONE, f"cannot be played: {name} has no address {network.net4} (above)")
    elif link.has_spanning_tree:
        notes.warn(
            PHONE,
            f"cannot be played: {name} speaks the spanning tree protocol, and a new port is silent for 30 s",
            f"turn that off, one bridge needs none: ip link set {name} type bridge stp_state 0",
        )
    else:
        try:
            return Handset(name, link)
        except OSError as error:
            notes.warn(PHONE, f"cannot be played: {error.strerror or error}", "try it with a real one")
    return None


def _play_parts(play: Play, parts: Collection[Part]) -> list[Finding]:
    joined = _do(play, "join", join, thorough="join" in parts)
    findings = _play_rest(play, parts) if play.lease else _skip_rest(play, parts)
    # At the end, for others may take their time to speak up.
    return [*joined, *(_do(play, "join", others) if "join" in parts else []), *findings]


def _skip_rest(play: Play, parts: Collection[Part]) -> list[Finding]:
    notes = Notes("join", play.network.name)
    if set(parts) != {"join"}:
        notes.skip(PHONE, "goes no further without an address of use to it; the rest is not looked at")
    return notes.findings


def _play_rest(play: Play, parts: Collection[Part]) -> list[Finding]:
    if set(parts) == {"join"}:
        return []
    asks_portal = bool({"portal", "online"} & set(parts))
    if asks_portal and "portal" not in play.box.faults:
        play.announce()
    findings = _do(play, "names", names, thorough="names" in parts)
    trying = play.pool.submit(_do, play, "walls", walls) if "walls" in parts else None
    if asks_portal:
        findings += _do(play, "portal", portal, thorough="portal" in parts)
    findings += trying.result() if trying else []
    if "online" in parts:
        findings += _do(play, "online", online)
    return findings


def _do(play: Play, part: Part, work: Callable[..., list[Finding]], **how: bool) -> list[Finding]:
    """What *work* finds; where it breaks, that it did."""
    findings: list[Finding] = []
    with _going_on(findings, part, play.network.name):
        findings += work(play, **how)
    return findings
