"""The whole examination: the box by itself, then a phone on each of its guests' networks, all at once."""

import asyncio
import os
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from captive.certificate import judge_served
from captive.doctor.certificate import look_at_certificate
from captive.doctor.finding import Finding, Notes, Part
from captive.doctor.join import join, others
from captive.doctor.machine import look_at_machine
from captive.doctor.names import names
from captive.doctor.online import online
from captive.doctor.phone.handset import Handset, find_link
from captive.doctor.phone.joining import release
from captive.doctor.play import Box, Play, StoppedError
from captive.doctor.portal import portal
from captive.doctor.processes import look_at_processes
from captive.doctor.routers import look_at_routers
from captive.doctor.stores import look_at_stores
from captive.doctor.trial import Trials, open_trials
from captive.doctor.uplink import Uplink, look_at_uplink
from captive.doctor.walls import walls
from crm.settings import Network, Settings

PHONE = "A phone"
PLAYED: tuple[Part, ...] = ("join", "names", "portal", "walls", "online")
"""What a phone does, in this order."""


async def examine(settings: Settings, parts: Collection[Part] = ()) -> list[Finding]:
    """Look at the box; and play *parts* of what a phone does on each of its networks."""
    uplink, found = Uplink(four=True, six=False, resolvers=True), list[Finding]()
    if settings.gate.gateway != "open" and settings.networks:
        uplink, found = await asyncio.to_thread(look_at_uplink, settings)
    verdict = judge_served(settings)
    findings = [
        *await look_at_stores(settings),
        *await look_at_processes(settings),
        *look_at_routers(settings),
        *found,
        *look_at_certificate(settings, verdict),
        *look_at_machine(settings),
    ]
    if parts:
        faults = frozenset(each.what for each in findings if each.state == "fault")
        findings += await _play_phones(Box(settings, verdict, uplink, faults), parts)
    return findings


async def _play_phones(box: Box, parts: Collection[Part]) -> list[Finding]:
    settings, notes = box.settings, Notes()
    if settings.gate.gateway == "open":
        notes.skip(PHONE, "cannot be played where gate.gateway is open: nothing stands in its way")
    elif not settings.networks:
        notes.skip(PHONE, "cannot be played: this box has no guests of its own; ask its routers")
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
    phone = _make_phone(notes, network)
    if phone is None:
        return notes.findings
    play = Play(box, network, phone, trials, stop)
    try:
        return _play_parts(play, parts)
    except StoppedError:
        return []
    finally:
        with suppress(OSError):
            if play.lease:
                release(phone, play.lease)
        play.close()
        phone.close()


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
    joined = join(play, thorough="join" in parts)
    findings = _play_rest(play, parts) if play.lease else _skip_rest(play, parts)
    # At the end, for others may take their time to speak up.
    return [*joined, *(others(play) if "join" in parts else []), *findings]


def _skip_rest(play: Play, parts: Collection[Part]) -> list[Finding]:
    notes = Notes("join", play.network.name)
    if set(parts) != {"join"}:
        notes.skip(PHONE, "goes no further without an address; the rest is not looked at")
    return notes.findings


def _play_rest(play: Play, parts: Collection[Part]) -> list[Finding]:
    if set(parts) == {"join"}:
        return []
    asks_portal = bool({"portal", "online"} & set(parts))
    if asks_portal and "portal" not in play.box.faults:
        play.announce()
    findings = names(play, thorough="names" in parts)
    trying = play.pool.submit(walls, play) if "walls" in parts else None
    if asks_portal:
        findings += portal(play, thorough="portal" in parts)
    findings += trying.result() if trying else []
    if "online" in parts:
        findings += online(play)
    return findings
