"""A phone that is not online tries to get past the portal: refused, and refused at once, so that it need not wait."""

import socket
import ssl
import time
from typing import NamedTuple

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone import attempts
from captive.doctor.phone.joining import hears
from captive.doctor.phone.probes import HOSTS, HTTPS_PROBE, LOCAL_NAME
from captive.doctor.phone.resolving import NOERROR, NXDOMAIN, resolve
from captive.doctor.play import Play
from captive.doctor.uplink import LANDMARKS
from crm.commands_here import to_read_log

SECURE = "Secure pages are refused at once (port 443)"
QUIC = "QUIC is refused at once (UDP 443)"
RESOLVERS = "Other resolvers are not reached"
OUT = "No other way out is open"
STAFF = "Staff pages are out of reach"
BOX = "The box shows guests nothing else"
APART = "Guests do not reach each other"
TCP_PORTS = (22, 853, 993, 1194, 5222, 8080, 8443)
UDP_PORTS = (123, 500, 1194, 51820)
LISTEN_SECONDS = 0.4
SSH = 22


class Try(NamedTuple):
    """One attempt: at what, and what became of it."""

    target: str
    port: int
    fate: attempts.Fate


def walls(play: Play) -> list[Finding]:
    """Try everything."""
    notes = Notes("walls", play.network.name)
    apart = play.pool.submit(hears, play.phone, LISTEN_SECONDS)
    _tell_quic(notes, play)  # first: the kernel tells a device of refusals only so often
    _tell_secure(notes, play)
    _tell_resolvers(notes, play)
    _tell_out(notes, play)
    tell_box(notes, play)
    if apart.result():
        down = "gate" in play.box.faults
        notes.fault(
            APART,
            "ports of the bridge are not isolated" + (", for the gate does not run" if down else ""),
            "see the gate, above"
            if down
            else f"{to_read_log('wificrm-gate')} says why: does this kernel know isolated ports (4.18)?",
        )
    else:
        notes.ok(APART, "what one says to all does not come to another (over the bridge)")
    return notes.findings


def landmarks(play: Play) -> tuple[str, ...]:
    """An address of the Internet in each of the phone's families."""
    return tuple(LANDMARKS[family][0] for family in play.families)


def tcp_all(play: Play, targets: list[tuple[str, int]]) -> list[Try]:
    """How connections to all *targets* fare."""
    fates = play.each(lambda each: attempts.tcp(play.phone.make_socket, *each), targets)
    return [Try(*target, fate) for target, fate in zip(targets, fates, strict=True)]


def _tell_quic(notes: Notes, play: Play) -> None:
    fates = dict(
        zip(landmarks(play), play.each(lambda each: _udp_patiently(play, each), landmarks(play)), strict=True)
    )
    passed = [target for target, fate in fates.items() if fate == "open"]
    if passed:
        notes.fault(QUIC, f"{passed[0]} answers: UDP passes before the grant", play.suspects)
    elif "silent" in fates.values():
        _tell_silence(notes, play, QUIC, ": apps wait for seconds before they fall back")
    else:
        notes.ok(QUIC, "by ICMP")


def _udp_patiently(play: Play, target: str) -> attempts.Fate:
    for _ in range(3):
        fate = attempts.udp(play.phone.make_socket, target, 443)
        if fate != "silent":
            return fate
        time.sleep(0.2)
    return "silent"


def _tell_secure(notes: Notes, play: Play) -> None:
    hosts = (HTTPS_PROBE.split("/")[2], *HOSTS[:3])
    found = {
        str(address): host
        for host in hosts
        for family in play.families
        for address in play.resolve(host, family).addresses[:1]
    }
    tries = tcp_all(play, [(address, 443) for address in found or landmarks(play)])
    bad = {each.fate: each for each in tries if each.fate in ("open", "silent")}
    if "open" in bad:
        target = bad["open"].target
        notes.fault(SECURE, *_who_answers(play, target, found.get(target, "")))
    elif "silent" in bad:
        told = f" ({bad['silent'].target}): phones wait, and some show no portal"
        _tell_silence(notes, play, SECURE, told)
    else:
        notes.ok(SECURE, "by a reset" if tries[0].fate == "reset" else "by ICMP")


def _who_answers(play: Play, address: str, host: str) -> tuple[str, str]:
    context = ssl.create_default_context()
    try:
        with play.phone.make_socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM
        ) as sock:
            sock.settimeout(attempts.TCP_SECONDS)
            sock.connect((address, 443))
            context.wrap_socket(sock, server_hostname=host or address).close()
    except ssl.SSLCertVerificationError:
        return (
            f"{host or address} is answered by somebody with a certificate that is not its own",
            f"port 443 must not be redirected: {play.suspects}",
        )
    except OSError:
        pass
    return (
        f"{host or address} is reached before the grant",
        f"nothing is enforced for it: {play.suspects}",
    )


def _tell_resolvers(notes: Notes, play: Play) -> None:
    servers = landmarks(play)
    replies = play.each(lambda each: resolve(play.phone.make_socket, each, LOCAL_NAME, tries=1), servers)
    # Ours, which stands in for every other, denies this name; any other knows an address of it.
    passed = [each for each, reply in zip(servers, replies, strict=True) if reply.code == NOERROR]
    if passed:
        notes.fault(
            RESOLVERS,
            f"{passed[0]} itself answers: names can be tunnelled past the limits",
            f"port 53 must lead to our resolver: {play.suspects}",
        )
    elif all(reply.code == NXDOMAIN for reply in replies):
        notes.ok(RESOLVERS, "ours answers in their place")
    else:
        notes.ok(RESOLVERS, "they do not answer")


def _tell_out(notes: Notes, play: Play) -> None:
    make = play.phone.make_socket
    tries = tcp_all(play, [(target, port) for target in landmarks(play) for port in TCP_PORTS])
    datagrams = [(target, port) for target in landmarks(play) for port in UDP_PORTS]
    fates = play.each(lambda each: attempts.udp(make, *each, timeout=0.4), datagrams)
    pings = play.each(lambda each: attempts.ping(make, each, timeout=0.4), landmarks(play))
    passed = [
        *(f"TCP port {each.port}" for each in tries if each.fate == "open"),
        *(f"UDP port {port}" for (_, port), fate in zip(datagrams, fates, strict=True) if fate == "open"),
        *("ping" for fate in pings if fate == "open"),
    ]
    lost = [each for each in tries if each.fate == "silent"]
    if passed:
        notes.fault(OUT, f"open before the grant: {', '.join(dict.fromkeys(passed))}", play.suspects)
    elif len(lost) == len(tries):
        _tell_silence(notes, play, OUT, ": apps wait")
    else:
        notes.ok(OUT, f"{len(tries)} TCP ports, {len(datagrams)} UDP ports and ping refused")


def _tell_silence(notes: Notes, play: Play, what: str, detail: str) -> None:
    """A box without a way out drops by itself: only now and then it says that there is none."""
    if "gateway" in play.box.faults:  # another's table that drops what is forwarded, most often
        notes.skip(what, "dropped in silence; look again when the gateway is well (above)")
    elif play.box.uplink.four or play.box.uplink.six:
        todo = f"look for a rule that drops instead of refusing: {play.suspects}"
        notes.fault(what, f"dropped in silence{detail}", todo)
    else:
        notes.skip(what, "no answer; whether it is refused shows when the uplink is alive (above)")


def tell_box(notes: Notes, play: Play) -> None:
    """What guests reach of the box itself beside resolver and portal."""
    settings = play.settings
    ports = (settings.console.port, settings.metrics.port, SSH)
    tries = tcp_all(play, [(address, port) for address in play.own_addresses for port in ports if port])
    reached = [each for each in tries if each.fate == "open"]
    staff = [each for each in reached if each.port == settings.console.port]
    others = [each for each in reached if each.port != settings.console.port]
    hint = (
        f"set console.address to 127.0.0.1 or an office's; guests are kept out by our table: {play.suspects}"
    )
    if staff:
        notes.fault(STAFF, f"guests reach them at {staff[0].target}:{staff[0].port}", hint)
    else:
        notes.ok(STAFF, f"port {settings.console.port} is refused")
    if others:
        told = ", ".join(f"{each.target}:{each.port}" for each in others)
        notes.fault(BOX, f"guests reach {told}", f"guests are kept out by our table: {play.suspects}")
    else:
        notes.ok(BOX, "neither its figures nor its ssh")
