"""Staff accounts: who may sign in to the console, what they may do there, and for how long.

Managers change things, officials read them; an account is bound to one venue or covers all of them.
"""

import asyncio
import hashlib
import math
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm import tables
from crm.errors import UserError
from crm.web import HandlerT, new_key

Role = Literal["manager", "official"]

SESSION_LIFE = timedelta(hours=8)
"""A working day; every request renews it."""

RENEW_AFTER = timedelta(minutes=10)
"""A session is renewed at most this often, so that reading a page seldom writes."""

NAME = re.compile(r"[\w.\-@]{2,64}")
"""What an account may be called, once folded."""

SESSION_COOKIE = "wificrm_staff"

MIN_PASSWORD = 10
MAX_PASSWORD = 200
"""Letters of a password; the upper bound keeps hashing it cheap."""


class Staff(msgspec.Struct, frozen=True):
    """One person's account."""

    id: int
    name: str
    role: Role
    venue: str | None  # None: every venue

    def covers(self, venue: str) -> bool:
        """Whether this account may see *venue*."""
        return self.venue is None or self.venue == venue


class Session(msgspec.Struct, frozen=True):
    """A sign-in that has not ended."""

    staff: Staff
    form_key: str  # what every form of this session carries (CSRF)
    expires: datetime  # UTC
    venue_names: dict[str, str]  # {language: name} of the account's venue; empty: it covers every venue


SESSION = web.RequestKey("SESSION", Session)


def staff_only(role: Role) -> Callable[[HandlerT], HandlerT]:
    """Mark a handler: ``official`` lets both roles in, ``manager`` managers only."""

    def mark(handler: HandlerT) -> HandlerT:
        handler.access = role  # type: ignore[attr-defined]
        return handler

    return mark


def current_staff(request: web.Request) -> Staff:
    """The person who is signed in. Only for handlers marked with `staff_only`."""
    return request[SESSION].staff


def check_name(raw: str) -> str:
    """*raw* as an account name: lower case, 2 to 64 letters, digits, ``.``, ``_``, ``-`` or ``@``.

    Raises `UserError` for anything else.
    """
    name = fold_name(raw)
    if not NAME.fullmatch(name):
        raise UserError("A name has 2 to 64 letters or digits, without spaces.")
    return name


def fold_name(raw: str) -> str:
    """*raw* the way names are compared: composed, lower case, no more than 65 letters."""
    return unicodedata.normalize("NFKC", raw[:200]).strip().casefold()[:65]


def check_password(raw: str, name: str) -> str:
    """*raw* when it may be a password (NIST SP 800-63B: length counts, no rules of composition).

    Raises `UserError` when it is too short, too long or the name itself.
    """
    if not MIN_PASSWORD <= len(raw) <= MAX_PASSWORD:
        raise UserError(
            "A password has {least} to {most} letters. A few words in a row are easy to remember.",
            least=MIN_PASSWORD,
            most=MAX_PASSWORD,
        )
    if fold_name(raw) == fold_name(name):
        raise UserError("The password must not be the name.")
    return raw


class Passwords:
    """Hashes and checks passwords with argon2id, one at a time and beside the event loop.

    19 MiB and two passes are the least that OWASP's Password Storage Cheat Sheet accepts; one at a time keeps
    a crowd at the sign-in page from filling a small gateway's memory.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._turn = asyncio.Lock()
        self._nobody = self._hasher.hash(new_key())

    async def hash(self, password: str) -> str:
        """What the store keeps of *password*."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, _plain(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether *password* made *password_hash*; None (no such account) takes as long as a wrong one."""
        async with self._turn:
            right = await asyncio.to_thread(self._check, password_hash or self._nobody, _plain(password))
        return right and password_hash is not None

    def _check(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _plain(password: str) -> str:
    """*password* composed, so that it does not matter how a keyboard builds a Vietnamese letter."""
    return unicodedata.normalize("NFC", password[: MAX_PASSWORD + 1])


class SignInLimit:
    """How often a password may be tried: per name and in total, in memory, forgotten with the process.

    An attempt counts as failed before it is checked, so many at once gain nothing. Times are monotonic
    seconds: a clock that is set does not open the door.
    """

    TRIES = 5
    TRIES_IN_TOTAL = 60
    WINDOW = 300.0
    MAX_NAMES = 1000

    def __init__(self) -> None:
        self._names: dict[str, list[float]] = {}
        self._all: list[float] = []

    def wait(self, name: str, now: float) -> int:
        """Seconds until *name* may be tried again; 0 is now."""
        since = now - self.WINDOW
        self._all = [at for at in self._all if at > since]
        tries = [at for at in self._names.get(name, ()) if at > since]
        until = tries[-self.TRIES] if len(tries) >= self.TRIES else since
        if len(self._all) >= self.TRIES_IN_TOTAL:
            until = max(until, self._all[-self.TRIES_IN_TOTAL])
        return math.ceil(until - since)

    def tried(self, name: str, now: float) -> None:
        """Count an attempt."""
        tries = self._names.pop(name, [])
        self._names[name] = [*tries[-self.TRIES + 1 :], now]
        self._all = [*self._all[-self.TRIES_IN_TOTAL + 1 :], now]
        if len(self._names) > self.MAX_NAMES:
            self._names.pop(next(iter(self._names)))

    def succeeded(self, name: str) -> None:
        """Forget the attempts of *name*; the last one was right."""
        tries = self._names.pop(name, [])
        if tries and tries[-1] in self._all:
            self._all.remove(tries[-1])


def _staff(row: Any) -> Staff:  # noqa: ANN401
    return Staff(row.id, row.name, row.role, row.venue)


async def insert_staff(
    conn: AsyncConnection, name: str, password_hash: str, role: Role, venue: str | None
) -> Staff:
    """Make an account. Raises `UserError` when the name is taken or there is no such venue."""
    if venue is not None and not await conn.scalar(
        select(tables.venue.c.code).where(tables.venue.c.code == venue)
    ):
        raise UserError("There is no centre with the code {venue}.", 404, venue=venue)
    values = {"name": name, "password_hash": password_hash, "role": role, "venue": venue}
    try:
        result = await conn.execute(insert(tables.staff).values(values).returning(tables.staff.c.id))
    except IntegrityError:
        raise UserError("There is already an account called {name}.", 409, name=name) from None
    return Staff(result.scalar_one(), name, role, venue)


async def select_staff_by_name(conn: AsyncConnection, name: str) -> tuple[Staff, str] | None:
    """The account called *name* and its password hash."""
    row = (await conn.execute(select(tables.staff).where(tables.staff.c.name == name))).one_or_none()
    return (_staff(row), row.password_hash) if row else None


async def list_staff(conn: AsyncConnection) -> list[Staff]:
    """Every account, by name."""
    return [_staff(row) for row in await conn.execute(select(tables.staff).order_by(tables.staff.c.name))]


async def set_password(conn: AsyncConnection, staff_id: int, password_hash: str) -> bool:
    """Change the password and end every session of the account; False: no such account."""
    await conn.execute(delete(tables.staff_session).where(tables.staff_session.c.staff_id == staff_id))
    changed = await conn.execute(
        update(tables.staff).where(tables.staff.c.id == staff_id).values(password_hash=password_hash)
    )
    return bool(changed.rowcount)


async def delete_staff(conn: AsyncConnection, staff_id: int) -> bool:
    """Remove the account and its sessions; False: no such account."""
    return bool((await conn.execute(delete(tables.staff).where(tables.staff.c.id == staff_id))).rowcount)


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def insert_session(conn: AsyncConnection, staff_id: int, now: datetime) -> str:
    """Start a session and drop those that have ended; returns the token, of which only a hash is kept."""
    sessions = tables.staff_session
    await conn.execute(delete(sessions).where(sessions.c.expires <= now))
    token = new_key()
    await conn.execute(
        insert(sessions).values(
            token_hash=_token_hash(token), staff_id=staff_id, expires=now + SESSION_LIFE, form_key=new_key()
        )
    )
    return token


async def select_session(conn: AsyncConnection, token: str, now: datetime) -> Session | None:
    """The session of *token* when it has not ended."""
    sessions = tables.staff_session
    row = (
        await conn.execute(
            select(tables.staff, sessions.c.form_key, sessions.c.expires, tables.venue.c.names)
            .join(sessions, sessions.c.staff_id == tables.staff.c.id)
            .outerjoin(tables.venue, tables.venue.c.code == tables.staff.c.venue)
            .where(sessions.c.token_hash == _token_hash(token), sessions.c.expires > now)
        )
    ).one_or_none()
    if row is None:
        return None
    return Session(_staff(row), row.form_key, row.expires.replace(tzinfo=UTC), row.names or {})


async def renew_session(conn: AsyncConnection, token: str, now: datetime) -> None:
    """Let the session of *token* last a whole `SESSION_LIFE` from *now*."""
    sessions = tables.staff_session
    await conn.execute(
        update(sessions).where(sessions.c.token_hash == _token_hash(token)).values(expires=now + SESSION_LIFE)
    )


async def delete_session(conn: AsyncConnection, token: str) -> None:
    """End the session of *token*."""
    sessions = tables.staff_session
    await conn.execute(delete(sessions).where(sessions.c.token_hash == _token_hash(token)))
