"""A phone asks for names: answered, and answered truthfully."""

from ipaddress import ip_network

from captive.box.check import addresses_of
from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.probes import CLIENTS, HOSTS, LOCAL_NAME, PROBES, WINDOWS_ANSWERS, WINDOWS_NAME
from captive.doctor.phone.resolving import CLOSED, NXDOMAIN, Address
from captive.doctor.play import Play
from captive.doctor.uplink import ask_upstream, upstream_resolvers

RESOLVER = "The resolver answers"
TRUTH = "Names are answered truthfully"
WINDOWS = "Windows' test name has the right address"
OWN = "The portal's name leads here"
_PRIVATE = tuple(
    ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"),
    )
)


def names(play: Play, *, thorough: bool) -> list[Finding]:
    """Ask for every probe's host. *thorough*: say what came of it; else it is only remembered."""
    notes = Notes("names", play.network.name)
    local = play.resolve(LOCAL_NAME)
    if not local.came:
        how = "refused on port 53" if local.code == CLOSED else "no answer on port 53"
        down = "dnsmasq" in play.box.faults
        notes.fault(
            RESOLVER,
            f"{play.resolver}: {how}{': dnsmasq does not run, or hangs' if down else ', though dnsmasq runs'}",
            "see dnsmasq, above"
            if down
            else f"look for what drops it: {play.suspects}; ss -lunp shows who listens",
        )
        for what in (TRUTH, WINDOWS, OWN):
            notes.skip(what, "the resolver does not answer")
        return notes.findings
    asked = [(host, family) for host in HOSTS for family in play.families]
    play.each(lambda each: play.resolve(*each), asked)
    if not thorough:
        return []
    if local.code == NXDOMAIN:
        notes.ok(RESOLVER, f"{play.resolver} answers")
    else:
        notes.fault(
            RESOLVER,
            f"{play.resolver} is another one: it knows an address of {LOCAL_NAME}, which ours denies",
            f"look for what redirects port 53: {play.suspects}",
        )
    _tell_truth(notes, play)
    _tell_windows(notes, play)
    _tell_own(notes, play)
    return notes.findings


def is_private(address: Address) -> bool:
    """Whether no host of the Internet has *address*."""
    return any(address in each for each in _PRIVATE if each.version == address.version)


def _tell_truth(notes: Notes, play: Play) -> None:
    bent = {
        host: address
        for host in HOSTS
        for family in play.families
        for address in play.resolve(host, family).addresses
        if is_private(address)
    }
    known = {host for host in HOSTS if any(play.resolve(host, family).addresses for family in play.families)}
    missing = [client for client in CLIENTS if not any(p.host in known for p in PROBES if p.client == client)]
    if bent:
        host, address = next(iter(bent.items()))
        more = f" ({len(bent)} such names)" if len(bent) > 1 else ""
        notes.fault(
            TRUTH,
            f"{host} is said to be at {address}, a private address{more}: to an Android phone this is no Internet, "
            f"and no portal opens. {_who_bends(play, host)}",
            "answers must not be bent: port 80 alone leads to the portal",
        )
    elif not known and not play.box.uplink.resolvers:
        notes.skip(TRUTH, "the provider's resolvers do not answer (above)")
    elif not known:
        notes.fault(
            TRUTH,
            "our resolver knows none of the phones' probe hosts, though the provider's resolvers answer",
            f"wificrm gateway apply; or a rule keeps dnsmasq from them: {play.suspects}",
        )
    elif missing:
        notes.warn(
            TRUTH,
            f"no address for the probe hosts of {', '.join(missing)}: their phones find no portal",
            "ask another resolver: uplink.dns",
        )
    else:
        notes.ok(TRUTH, f"{len(known)} of {len(HOSTS)} probe hosts, each at an address of the Internet")


def _who_bends(play: Play, host: str) -> str:
    for server in upstream_resolvers(play.settings):
        if any(map(is_private, ask_upstream(server, host, 1).addresses)):
            return f"The provider's resolver {server} says so: set another in uplink.dns"
    return "This box's own dnsmasq says so: look for address= lines, then: wificrm gateway apply"


def _tell_windows(notes: Notes, play: Play) -> None:
    reply = play.resolve(WINDOWS_NAME)
    if str(next(iter(reply.addresses), "")) == WINDOWS_ANSWERS[0]:
        notes.ok(WINDOWS, f"{WINDOWS_NAME} is {WINDOWS_ANSWERS[0]}")
    elif not reply.addresses and not play.box.uplink.resolvers:
        notes.skip(WINDOWS, "the provider's resolvers do not answer (above)")
    else:
        said = ", ".join(map(str, reply.addresses)) or "nothing"
        notes.fault(
            WINDOWS,
            f"{WINDOWS_NAME} is answered with {said}, not {WINDOWS_ANSWERS[0]}: Windows believes in no network",
            "ask another resolver (uplink.dns), or take away what bends it",
        )


def _tell_own(notes: Notes, play: Play) -> None:
    name = play.settings.portal.name
    if not name:
        notes.ok(OWN, "it has none: phones are sent to its address")
        return
    said = [str(each) for family in play.families for each in play.resolve(name, family).addresses]
    wanted = [play.own4, *([play.own6] if play.six else [])]
    # With several networks, the name comes with the IPv6 addresses of all of them.
    own = {str(each) for network in play.settings.networks for each in addresses_of(network.interface) or ()}
    if set(wanted) <= set(said) <= own:
        notes.ok(OWN, f"{name} is {' and '.join(said)}")
    else:
        notes.fault(
            OWN,
            f"{name} is answered with {', '.join(said) or 'nothing'}, not {', '.join(wanted)}",
            "run: wificrm gateway apply",
        )
