"""The cookie by which a device behind a thin router is known: its own key, signed, good for the day. Rules only.

It is the phone's own: the portal keeps no list of them. No script can read it, and it goes with the browser.
"""

import hashlib
import hmac
import re
from datetime import date, timedelta

from captive.gateway import device_key
from crm.times import UNDATED

NAME = "wificrm"
A_DAY = timedelta(days=1)
_COOKIE = re.compile(r"([a-z][a-z0-9_]{0,11})\.([0-9a-f]{12})\.([0-9]{1,7})\.([0-9a-f]{64})")


def cookie_key(secret: bytes) -> bytes:
    """The key that signs cookies, made of the *secret* that signs forms."""
    return hmac.digest(secret, b"cookie of a device", hashlib.sha256)


def make_cookie(key: bytes, network: str, mac: str, today: date) -> str:
    """What is set for the device *mac* behind the router *network*."""
    body = f"{network}.{mac.replace(':', '')}.{today.toordinal()}"
    return f"{body}.{_signature(key, body)}"


def read_cookie(key: bytes, text: str, today: date, *, woke_today: bool = False) -> str | None:
    """The device that *text* was set for, today or yesterday; None for anything else.

    While no day is known (*today* is `UNDATED`) none is too old. One set without a day is taken when we
    *woke_today*: then it may be from the hour before the clock was set.
    """
    found = _COOKIE.fullmatch(text)
    if not found:
        return None
    body, _, signature = text.rpartition(".")
    if not hmac.compare_digest(signature, _signature(key, body)):
        return None
    network, mac, day, _ = found.groups()
    good = {today, today - A_DAY} | ({UNDATED} if woke_today else set())
    if today != UNDATED and int(day) not in {each.toordinal() for each in good}:
        return None
    return device_key(network, ":".join(mac[at : at + 2] for at in range(0, 12, 2)))


def _signature(key: bytes, body: str) -> str:
    return hmac.digest(key, body.encode(), hashlib.sha256).hex()
