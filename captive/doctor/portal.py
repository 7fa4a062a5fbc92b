"""A phone looks for the portal: each system's probe is redirected, the page opens, the API says captive."""

import re
from typing import Literal, NamedTuple

import msgspec

from captive.certificate import API_PATH
from captive.doctor.finding import Finding, Notes
from captive.doctor.phone.probes import CLIENTS, PROBES, Probe
from captive.doctor.phone.web import Page, ask
from captive.doctor.play import Play
from captive.doctor.uplink import LANDMARKS
from captive.portal.rfc8908 import MEDIA_TYPE
from crm.commands_here import to_read_log, to_restart

REDIRECT = "Port 80 leads to the portal"
FOUND = "{} devices find the portal"
PAGE = "The first page opens"
API = "The API says captive"
MOST_BODY = 1_000
SAMPLES = 3
_FORM = re.compile(r'action="(/[a-z]{2,3}/skip)".*?name="r" value="([^"<>]{1,400})"', re.DOTALL)

Outcome = Literal["portal", "internet", "refused", "silent", "odd"]


class Look(NamedTuple):
    """What one probe met; *detail* is half a sentence."""

    probe: Probe
    family: int
    outcome: Outcome
    detail: str


class _State(msgspec.Struct):
    """What of the API's answer counts (RFC 8908, section 5)."""

    captive: bool
    user_portal_url: str = msgspec.field(default="", name="user-portal-url")


def portal(play: Play, *, thorough: bool) -> list[Finding]:
    """Look for the portal. *thorough*: with every probe; else only as far as the first page."""
    notes = Notes("portal", play.network.name)
    if "portal" in play.box.faults:
        for what in (REDIRECT, PAGE, API):
            notes.skip(what, "the portal does not answer (above)")
        return notes.findings
    if thorough:
        _tell_probes(notes, play, look_all(play))
    _open_page(notes, play)
    if thorough:
        _tell_api(notes, play)
    return notes.findings


def look_all(play: Play, families: tuple[int, ...] = ()) -> list[Look]:
    """Play every probe over each of the phone's families of addresses."""
    samples = [(probe, family) for probe in PROBES[:SAMPLES] for family in families or play.families]
    first = play.each(lambda each: look(play, *each), samples)
    heard = {each.family for each in first if each.outcome != "silent"}
    # Where nobody answers the first, the rest would only take its time.
    rest = [(probe, family) for probe in PROBES[SAMPLES:] for family in sorted(heard)]
    return [*first, *play.each(lambda each: look(play, *each), rest)]


def look(play: Play, probe: Probe, family: int) -> Look:
    """Play one *probe*; where its host has no address, at that of another: port 80 is redirected whatever it is."""
    known = play.resolve(probe.host, family).addresses
    address = str(known[0]) if known else LANDMARKS[family][0]
    try:
        page = ask(play.phone.make_socket, address, probe.url, agent=probe.agent)
    except ConnectionRefusedError:
        return Look(probe, family, "refused", "the connection is reset")
    except TimeoutError:
        return Look(probe, family, "silent", "no answer")
    except (OSError, ValueError) as error:
        return Look(probe, family, "odd", str(error))
    return Look(probe, family, *_judge(play, probe, page, family))


def _judge(play: Play, probe: Probe, page: Page, family: int) -> tuple[Outcome, str]:
    if probe.is_online(page.status, page.body):
        return "internet", "the Internet's own answer came"
    place = page.header("Location")
    if page.status != 302:
        return "odd", f"status {page.status} from who knows whom, instead of a redirect (302)"
    if place != play.origin(family) + "/":
        return "odd", f"sent to {place[:100] or 'nowhere'}, not to {play.origin(family)}/"
    if "no-store" not in page.header("Cache-Control") or page.header("Connection").lower() != "close":
        return "odd", "the redirect may be kept (no-store, Connection: close are missing)"
    if not 4 < len(page.body) < MOST_BODY:
        return "odd", f"the redirect's body has {len(page.body)} letters; some systems want a short one"
    return "portal", f"sent to {place}"


def _tell_probes(notes: Notes, play: Play, looks: list[Look]) -> None:
    for family in play.families:
        met = [each for each in looks if each.family == family]
        if {each.outcome for each in met} & {"portal", "internet"}:
            continue
        _tell_astray(notes, play, met, f" over IPv{family}" if len(play.families) > 1 else "")
        looks = [each for each in looks if each.family != family]
    if not looks:
        return
    if not play.box.uplink.resolvers:
        told = "they find no names (above); where they did, port 80 would lead them there"
        notes.skip(FOUND.format("All"), told)
        return
    for client in CLIENTS:
        _tell_client(notes, client, [each for each in looks if each.probe.client == client])


def _tell_astray(notes: Notes, play: Play, looks: list[Look], over: str) -> None:
    """Nothing of what phones ask comes to the portal, or the portal sends all of them astray."""
    odd = next((each.detail for each in looks if each.outcome == "odd"), "")
    if odd:
        told = f"no: {odd}{over}, whatever phones ask"
        hint = f"settings changed? {to_restart('wificrm')}. Else look for another redirect of port 80"
    else:
        how = "reset" if any(each.outcome == "refused" for each in looks) else "dropped"
        told = f"no: what phones ask{over} is {how}, though the portal runs"
        hint = "look for another redirect of port 80, or a rule that refuses it"
    notes.fault(REDIRECT, told, f"{hint}: {play.suspects}")


def _tell_client(notes: Notes, client: str, looks: list[Look]) -> None:
    what = FOUND.format(client)
    bad = [each for each in looks if each.outcome != "portal"]
    past = [each for each in bad if each.outcome == "internet"]
    if past:
        notes.fault(
            what,
            f"{past[0].probe.url} gets through to the Internet before the grant: they believe to be online and "
            "open no portal",
            "its address is in the walled garden (nft list table inet wificrm, garden sets), most often one shared "
            "with a garden name: take that name out of network.walled_garden, then: wificrm gateway apply",
        )
    elif bad:
        notes.fault(what, f"{bad[0].probe.url}: {bad[0].detail}", f"{to_read_log('wificrm')} says why")
    else:
        notes.ok(what, f"{looks[0].probe.url} ({looks[0].detail})")


def _open_page(notes: Notes, play: Play) -> None:
    """The first page itself where the portal knows that nobody sees it; else one that is not counted."""
    path = f"/{play.settings.venue.languages[0]}/rules" if play.unnoted else "/"
    try:
        page = play.visit(path)
    except (OSError, ValueError) as error:
        notes.fault(PAGE, f"{play.origin()}{path}: {error}", _certificate_hint(play))
        return
    form = _FORM.search(page.body)
    play.skip = (form[1], form[2]) if form else None
    if page.status == 403:
        notes.fault(
            PAGE,
            "the portal does not know from which device the request comes",
            f"{to_read_log('wificrm')}: does it follow the kernel's neighbour table? Else: {to_restart('wificrm')}",
        )
    elif page.status != 200 or (path == "/" and not form):
        notes.fault(
            PAGE,
            f"status {page.status}, without a way to skip the survey",
            f"{to_read_log('wificrm')} says why",
        )
    elif play.unnoted:
        notes.warn(
            PAGE,
            f"{play.origin()}{path} opens; the first page itself was left alone, for {play.unnoted}",
            f"{to_read_log('wificrm')} says why",
        )
    else:
        notes.ok(PAGE, f"{play.origin()}/ opens, and offers the way to skip")


def _certificate_hint(play: Play) -> str:
    return (
        f"which certificate is served? The one in the file is good: {to_restart('wificrm')}"
        if play.is_secure
        else f"{to_read_log('wificrm')} says why"
    )


def _tell_api(notes: Notes, play: Play) -> None:
    if not play.is_secure:
        notes.skip(API, "without a good certificate there is no API (RFC 8908); phones are redirected")
        return
    said = read_api(play)
    if said == "captive":
        notes.ok(API, f"{play.api} says captive: true")
    elif said == "online":
        notes.fault(
            API,
            "the API says captive: false to a phone that is shut out: it opens no portal",
            to_restart("wificrm"),
        )
    else:
        notes.fault(API, f"{play.api}: {said}", f"{to_read_log('wificrm')} says why")


def read_api(play: Play) -> str:
    """``captive``, ``online``, or half a sentence that says what is wrong."""
    try:
        page = play.visit(API_PATH, accept=MEDIA_TYPE)
        if page.status != 200 or not page.header("Content-Type").startswith(MEDIA_TYPE):
            return f"status {page.status}, {page.header('Content-Type') or 'no type'}"
        state = msgspec.json.decode(page.body, type=_State)
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors
        return str(error)
    if state.captive and not state.user_portal_url.startswith("https://"):
        return "no user-portal-url with https: phones discard the answer"
    return "captive" if state.captive else "online"
