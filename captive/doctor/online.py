"""A phone skips the survey and is online: the Internet itself answers it, and when its time ends nobody does."""

import ssl
from collections import Counter
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from captive.doctor.finding import Finding, Notes
from captive.doctor.phone import attempts
from captive.doctor.phone.attempts import any_open
from captive.doctor.phone.probes import CLIENTS, HOSTS, HTTPS_PROBE, PROBES
from captive.doctor.phone.resolving import NOERROR, resolve
from captive.doctor.phone.web import ask
from captive.doctor.play import Play
from captive.doctor.portal import Look, look, look_all, read_api
from captive.doctor.uplink import LANDMARKS
from captive.doctor.walls import Try, tcp_all, tell_box
from captive.kernel.uplink_networks import uplink_networks
from crm.commands_here import to_read_log

SKIPPED = "Skipping the survey brings the phone online"
API = "The API says online"
REACHED = "{} devices find the Internet"
INTERNET = "The Internet answers"
PORTS = "Secure pages, encrypted names and UDP pass"
OFFICE = "The office's networks stay out of reach"
ENDED = "When its time ends, it meets the portal again"


def online(play: Play) -> list[Finding]:
    """Go online as a guest does, look around, and be sent back."""
    notes = Notes("online", play.network.name)
    if play.skip is None or "gate" in play.box.faults:
        notes.skip(
            SKIPPED,
            "the form of the first page is not known (above)"
            if play.skip is None
            else "the gate does not run (above)",
        )
        return notes.findings
    try:
        if _skip_survey(notes, play):
            _look_around(notes, play)
    finally:
        failed = play.trials.end(play.device)
    play.go_on()
    _tell_ended(notes, play, failed)
    return notes.findings


def _skip_survey(notes: Notes, play: Play) -> bool:
    path, token = play.skip or ("", "")
    try:
        page = play.visit(path, form=f"r={token}")
        after = play.visit(page.header("Location") or "/") if page.status == 303 else page
    except (OSError, ValueError) as error:
        notes.fault(SKIPPED, f"{play.origin()}{path}: {error}", f"{to_read_log('wificrm')} says why")
        return False
    if after.status == 200 and page.status == 303 and page.header("Location").endswith("/online"):
        notes.ok(SKIPPED, f"{page.header('Location')} opens")
        return True
    notes.fault(
        SKIPPED,
        f"no: status {page.status}",
        f"{to_read_log('wificrm')}, {to_read_log('wificrm-gate')} say why",
    )
    return False


def _look_around(notes: Notes, play: Play) -> None:
    if play.is_secure:
        said = read_api(play)
        if said == "online":
            notes.ok(API, "captive: false")
        else:
            notes.fault(
                API, f"no: {said}; a phone keeps the portal open", f"{to_read_log('wificrm')} says why"
            )
    reached = {4: play.box.uplink.four, 6: play.box.uplink.six}
    families = tuple(family for family in play.families if reached[family])
    if not families:
        notes.skip(INTERNET, "the uplink leads to none of those who are tried (above): nothing to be reached")
    elif passed := _tell_internet(notes, play, families):
        _tell_ports(notes, play, passed)
        _tell_office(notes, play, passed)  # what is dropped with all the rest would prove nothing
    tell_box(notes, play)


def _tell_internet(notes: Notes, play: Play, families: tuple[int, ...]) -> tuple[int, ...]:
    """By which of *families* anything was reached at all."""
    tries = play.each(lambda each: any_open(play.phone.make_socket, LANDMARKS[each], 443), families)
    passed = tuple(family for family, reached in zip(families, tries, strict=True) if reached)
    if shut := [family for family in families if family not in passed]:
        _tell_shut(notes, play, f" over IPv{shut[0]}" if passed else "")
    if not passed:
        return ()
    looks = [each for each in look_all(play, passed) if play.resolve(each.probe.host, each.family).addresses]
    met = Counter(each.outcome for each in looks)
    if not looks:
        notes.ok(INTERNET, "packets pass, but without names (above) no page opens")
    elif not met["internet"]:
        notes.fault(INTERNET, f"no probe got the answer of its host: {looks[0].detail}", _blame(play))
    else:
        notes.ok(INTERNET, f"{met['internet']} of {len(looks)} probes got the answer of the host itself")
        for client in CLIENTS:
            _tell_client(notes, client, [each for each in looks if each.probe.client == client])
    return passed


def _tell_shut(notes: Notes, play: Play, over: str) -> None:
    known = {"forwarding", "firewall table"} & play.box.faults
    # Who is not let through is told so at once; what is dropped on its way is not.
    if not known and attempts.tcp(play.phone.make_socket, LANDMARKS[4][0], 443) == "reset":
        notes.fault(
            INTERNET,
            f"no: phones are refused{over} after the grant as before it",
            f"the gate did not open the table: {to_read_log('wificrm-gate')} says why",
        )
    else:
        notes.fault(
            INTERNET,
            f"no: nothing passes{over} after the grant, though this box itself reaches it",
            _blame(play),
        )


def _tell_client(notes: Notes, client: str, looks: list[Look]) -> None:
    what = REACHED.format(client)
    good = [each for each in looks if each.outcome == "internet"]
    if good:
        notes.ok(what, f"{good[0].probe.url}: the answer that says online")
    elif looks:
        notes.warn(
            what,
            f"{looks[0].probe.url}: {looks[0].detail}; these devices may say that there is no Internet",
            "others are well: the maker's host does not answer, or the provider keeps it away",
        )
    else:
        notes.warn(what, "their hosts have no address", "ask another resolver: uplink.dns")


def _blame(play: Play) -> str:
    if "forwarding" in play.box.faults:
        return "forwarding is off, see above"
    if "firewall table" in play.box.faults:
        return "our table is not in the kernel, see above"
    others = play.foreign_tables
    if others:
        return f"table {', '.join(others)} drops what is forwarded: let the guests' interface through there"
    return (
        "does the router above know the guests' network? Else set uplink.masquerade = true; nft list ruleset"
    )


def _tell_ports(notes: Notes, play: Play, families: tuple[int, ...]) -> None:
    make = play.phone.make_socket
    marks = [LANDMARKS[family][0] for family in families]
    host = HTTPS_PROBE.split("/")[2]
    pages = [str(each) for family in families for each in play.resolve(host, family).addresses[:1]] or marks
    secure = tcp_all(play, [(each, 443) for each in pages])
    names = tcp_all(play, [(each, 853) for each in marks])
    said = play.each(lambda each: resolve(make, each, HOSTS[0], tries=2), marks)
    shut = [
        *(["port 443"] if all(each.fate != "open" for each in secure) else []),
        *(["port 853"] if all(each.fate != "open" for each in names) else []),
        *(["UDP"] if all(reply.code != NOERROR for reply in said) else []),
    ]
    opened = [each.target for each in secure if each.fate == "open"]
    stuck = [
        each
        for each, is_stuck in zip(opened, play.each(partial(_is_stuck, play), opened), strict=True)
        if is_stuck
    ]
    if stuck:
        (notes.fault if stuck == opened else notes.warn)(
            PORTS,
            f"{host} at {', '.join(stuck)} takes connections, but its certificate never comes: what is large is lost",
            "something above this box (PPPoE, a tunnel, a VPN) carries smaller packets and does not say so; try: "
            f"ip link set {play.settings.uplink.interface} mtu 1400",
        )
    elif not shut:
        notes.ok(PORTS, "TCP 443, TCP 853, UDP")
    elif "port 443" in shut:
        notes.fault(
            PORTS, f"{', '.join(shut)} does not pass: phones call this partial connectivity", _blame(play)
        )
    else:
        notes.warn(
            PORTS,
            f"{', '.join(shut)} does not pass to {', '.join(marks)}: phones with private DNS find no names",
            "let it through above this box, or live with it",
        )


def _is_stuck(play: Play, address: str) -> bool:
    """Whether who takes a connection on port 443 at *address* is never heard of again, twice."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    for _ in range(2):
        try:
            ask(play.phone.make_socket, address, HTTPS_PROBE, trust=anybody)
        except TimeoutError:
            continue
        except (OSError, ValueError):
            pass
        return False
    return True


def _tell_office(notes: Notes, play: Play, families: tuple[int, ...]) -> None:
    sixes = [each.net6.network for each in play.settings.networks if each.net6]
    own: list[IPv4Network | IPv6Network] = [*(each.net4.network for each in play.settings.networks), *sixes]
    targets = []
    uplink = play.settings.uplink
    for text in (*uplink.off_limits, *sorted(uplink_networks(uplink.interface) if uplink.off_limits else ())):
        network = ip_network(text, strict=False)
        first = network.network_address + (1 if network.num_addresses > 1 else 0)
        if network.version in families and not any(ip_address(first) in net for net in own):
            targets.append(str(first))
    tries = tcp_all(play, [(each, 443) for each in targets])
    open_ = [each for each in tries if each.fate in ("open", "silent")]
    if open_:
        notes.fault(
            OFFICE,
            f"{open_[0].target} behind the uplink is {'reached' if open_[0].fate == 'open' else 'not refused'}",
            "our table is not what it should be: nft list ruleset; wificrm gateway apply",
        )
    elif tries:
        notes.ok(OFFICE, f"{len(tries)} networks behind the uplink are refused")
    else:
        notes.warn(OFFICE, "uplink.off_limits is empty: guests reach what stands behind the uplink", "set it")


def _tell_ended(notes: Notes, play: Play, failed: str) -> None:
    if failed:
        notes.fault(
            ENDED,
            f"{failed}; the doctor's phone is online for a minute more",
            f"{to_read_log('wificrm')} says why",
        )
        return
    probe = look(play, PROBES[0], 4)
    [secure] = tcp_all(play, [(LANDMARKS[4][0], 443)])
    wrong = _still_open(probe, secure)
    if play.is_secure and (said := read_api(play)) != "captive":
        wrong.append(f"the API says {said}")
    if wrong:
        notes.fault(
            ENDED, f"not quite: {', '.join(wrong)}", f"{to_read_log('wificrm-gate')}; nft list ruleset"
        )
    else:
        notes.ok(ENDED, "redirected and refused as before")


def _still_open(probe: Look, secure: Try) -> list[str]:
    wrong = []
    if probe.outcome == "internet":
        wrong.append("its probe still reaches the Internet")
    if secure.fate == "open":
        wrong.append("port 443 is still open")
    return wrong
