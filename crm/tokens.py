"""Response tokens: what a page carries so that its answers belong together, and nobody can make one up.

A token is a random response id, the day it was given, and a signature over both (HMAC-SHA-256, cut to
96 bits), in 40 letters of URL-safe base64. It names no device and no person.
"""

import base64
import binascii
import hashlib
import hmac
from datetime import date, timedelta
from uuid import UUID

from crm.errors import UserError
from crm.times import UNDATED

LENGTH = 40
_STALE = "This page is out of date. Please open the survey again."


def sign(response: UUID, day: date, key: bytes) -> str:
    """The token of *response*, given out on *day*."""
    body = response.bytes + day.toordinal().to_bytes(3, "big")[1:]
    return base64.urlsafe_b64encode(body + _signature(body, key)).decode()


def read(token: str, today: date, key: bytes, *, woke_today: bool = False) -> UUID:
    """The response id of *token*. Raises `UserError` for one that is not ours or older than a day.

    While no day is known (*today* is `UNDATED`) none is too old. One given out without a day is taken when
    we *woke_today*: then it may be from the hour before the clock was set.
    """
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii")) if len(token) == LENGTH else b""
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    body, signature = raw[:18], raw[18:]
    if len(signature) != 12 or not hmac.compare_digest(signature, _signature(body, key)):
        raise UserError(_STALE, 400)
    given = int.from_bytes(body[16:], "big")
    good = {today, today - timedelta(days=1)} | ({UNDATED} if woke_today else set())
    if today != UNDATED and given not in {day.toordinal() & 0xFFFF for day in good}:
        raise UserError(_STALE, 409)
    return UUID(bytes=body[:16])


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, body, hashlib.sha256)[:12]
