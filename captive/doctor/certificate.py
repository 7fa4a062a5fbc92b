"""The portal's certificate, and what phones are told of the API that needs it."""

from datetime import UTC, datetime

from captive.advertise.advertiser import announced
from captive.certificate import WARN_DAYS, Verdict, offered_api
from captive.doctor.finding import Finding, Notes
from crm.settings import Settings
from crm.times import is_sound

_PLAIN = "until then phones are redirected over plain http"


def look_at_certificate(settings: Settings, verdict: Verdict) -> list[Finding]:
    """What a phone makes of it (*verdict* of `captive.certificate.judge_served`), and whether all is told so."""
    notes = Notes()
    now = datetime.now(UTC)
    if not settings.tls:
        notes.warn(
            "certificate",
            "none: phones find the portal by redirect only (no RFC 8908 API)",
            "get one for a name of the centre's (docs: portal.name, portal.certificate)",
        )
    elif not is_sound(now):
        notes.skip("certificate", "while the clock is wrong, nobody can tell whether it holds")
    elif verdict.fault:
        notes.fault(
            "certificate", verdict.fault, f"put a good one into {settings.portal.certificate}; {_PLAIN}"
        )
    elif (days := verdict.days(now.timestamp())) < WARN_DAYS:
        notes.warn("certificate", f"{days} days left", "see why it was not renewed")
    elif not verdict.public:
        notes.warn(
            "certificate",
            f"{days} days left, but no authority that this system knows vouches for it: only phones that know "
            "its authority take it",
            "see whether the whole chain is in the file",
        )
    else:
        notes.ok("certificate", f"{days} days left")
    if settings.networks and settings.gate.gateway != "open" and is_sound(now):
        _look_at_announced(notes, settings, verdict)
    return notes.findings


def _look_at_announced(notes: Notes, settings: Settings, verdict: Verdict) -> None:
    said, offered = announced(settings), offered_api(settings, verdict)
    if said is None or said == offered:  # down is told elsewhere
        return
    what = "what phones are told of the portal"
    told = "of none, though the certificate is good" if not said else f"of {said}, which they would not trust"
    notes.warn(
        what,
        told,
        "wificrm gateway watch corrects it within a minute: is it running? Or: wificrm gateway apply",
    )
