"""The portal's certificate, and what phones are told of the API that needs it."""

from datetime import UTC, datetime

from captive.advertise.advertiser import announced
from captive.certificate import WARN_DAYS, Verdict, offered_api
from captive.doctor.clock import is_right
from captive.doctor.finding import Finding, Notes
from crm.commands_here import to_start
from crm.settings import Settings

_PLAIN = "until then phones are redirected over plain http"


def look_at_certificate(settings: Settings, verdict: Verdict, ahead: float | None = None) -> list[Finding]:
    """What a phone makes of it (*verdict* of `captive.certificate.judge_served`), and whether all is told so.

    *ahead* is how far the clock is known to be wrong: what looks expired need not be.
    """
    notes = Notes()
    now = datetime.now(UTC)
    can_tell = is_right(now, ahead)
    if not settings.tls:
        notes.warn(
            "certificate",
            "none: phones find the portal by redirect only (no RFC 8908 API)",
            "it works without; with one phones find it faster: portal.name, portal.certificate, portal.key",
        )
    elif not can_tell:
        notes.skip("certificate", "while the clock is wrong, nobody can tell whether it holds")
    elif verdict.fault:
        is_over = 0 < verdict.ends < now.timestamp() and ahead is None
        first = (
            f"see whether it is {now:%Y-%m-%d} at all, for nobody could be asked; then " if is_over else ""
        )
        todo = f"{first}put a good one into {settings.portal.certificate}; {_PLAIN}"
        notes.fault("certificate", verdict.fault, todo)
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
    if settings.networks and settings.gate.gateway != "open" and can_tell:
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
        f"run: wificrm gateway apply; {to_start('wificrm-mend')} has it done by itself",
    )
