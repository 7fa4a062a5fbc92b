"""What phones are told by the Captive Portal API (RFC 8908), and who asks for it. Rules only, no I/O."""

import re

MAX_ACCEPT = 1_000
"""Letters of an ``Accept`` header that count."""

MEDIA_TYPE = "application/captive+json"
_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)


def api_state(
    *, online: bool, portal: str, seconds: int, bytes_left: int | None, can_extend: bool
) -> dict[str, bool | int | str]:
    """The answer's object (section 5): no null, no float, and no remainder where there is no limit.

    *portal* is the portal's address without a path; *seconds* 0: this device is online without an end. What
    remains is said to who is online only: clients ignore it from others, and one gives the object up for it.
    """
    state: dict[str, bool | int | str] = {"captive": not online, "user-portal-url": f"{portal}/"}
    if not online:
        return state
    state |= {"venue-info-url": f"{portal}/venue", "can-extend-session": can_extend}
    if seconds:
        state["seconds-remaining"] = seconds
    if bytes_left is not None:
        state["bytes-remaining"] = bytes_left
    return state


def prefers_page(accept: str) -> bool:
    """Whether an ``Accept`` header wants a page rather than this API's JSON (RFC 9110 section 12.5.1).

    Browsers who open the API's address are shown the portal (RFC 8910 section 2 allows it). Who says
    nothing, or takes anything, gets the JSON.
    """
    return _quality(accept, "text/html") > _quality(accept, MEDIA_TYPE)


def _quality(accept: str, media_type: str) -> float:
    """How much *accept* wants *media_type*: the weight of the range that names it most exactly."""
    ranges = (media_type, media_type.split("/")[0] + "/*", "*/*")
    found: dict[str, float] = {}
    for part in accept[:MAX_ACCEPT].split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weights = [_WEIGHT.fullmatch(each) for each in parameters if each[:2].lower() == "q="]
        if all(weights):
            found[name.lower()] = min((float(weight[1]) for weight in weights if weight), default=1.0)
    return next((found[each] for each in ranges if each in found), 0.0)
