"""The device behind a request: who it is (in memory only), what it has seen, and how it gets online."""

import asyncio
import hashlib
import hmac
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, NamedTuple
from uuid import UUID

import structlog
from aiohttp import web

from captive.gateway import GatewayError, device_key, key_parts
from captive.grants.grants import Grants
from captive.grants.policy import Reason, Refusal
from captive.kernel.neighbours import Neighbours
from captive.metrics.guests import GuestFigures, Outcome
from captive.portal import cookie
from captive.portal.probes import wanted_page
from captive.routers.link import RouterLink
from captive.routers.wire import is_mac, unwrap
from crm import tokens
from crm.errors import UserError
from crm.times import UNDATED
from crm.web import Guest, see_other

log = structlog.get_logger()

A_DAY = 24 * 3600.0
"""Seconds."""

MAX_VISITS = 20_000
"""Devices remembered at most; past that the one seen longest ago is forgotten."""

PREPARED = "The Internet connection is being prepared. Please try again in a few seconds."

DEVICE = web.RequestKey("DEVICE", str)
"""The key of the device that a request comes from (see `captive.gateway.device_key`)."""


@dataclass(slots=True)
class Visit:
    """What one device did today. Lives in memory, goes at midnight."""

    response: UUID = field(default_factory=uuid.uuid4)  # version 4: random
    token: str = ""  # of that response, signed when first needed
    shown: bool = False
    skipped: bool = False
    asked: bool = False  # came to the end of the survey, or skipped it, when it could not go online
    started: bool = False
    resume: str = ""  # the question to go on with; of who has finished, the one to ask again
    finished: bool = False
    wanted: str = ""
    joined: bool = False  # it was noticed for the metrics that it was there, and that it was redirected
    redirected: bool = False


class Standing(NamedTuple):
    """How a device stands that is not online: what its first page says."""

    state: Literal["new", "asked", "spent"] | Reason
    asked: bool = False  # the survey was answered or skipped today
    started: bool = False
    opens: datetime | None = None  # when the Wi-Fi opens again, local time


NEW, ASKED, SPENT = Standing("new"), Standing("asked"), Standing("spent")


class Door:
    """Tells the pages whom they serve, without identity, and opens the network (a `crm.web.Doorkeeper`)."""

    def __init__(
        self,
        grants: Grants,
        neighbours: Neighbours,
        key: bytes,
        venue: str,
        links: Mapping[str, RouterLink] | None = None,
    ) -> None:
        """*links* by the names of thin routers."""
        self.grants = grants
        self.links: Mapping[str, RouterLink] = links or {}
        self.figures = GuestFigures()
        self._cookie_key = cookie.cookie_key(key)
        self._neighbours = neighbours
        self._key = key
        self._venue = venue
        self._visits: dict[str, Visit] = {}
        self._today = date.min
        self._woke = time.monotonic()
        self._opening: set[asyncio.Task[None]] = set()

    async def start_day(self, today: date) -> None:
        """Forget yesterday: visits, marks, and the secret behind them.

        *today* is `UNDATED` while the clock is known to be wrong: then no day begins, and when the clock has
        been set, it is the day that has been all along.
        """
        if today == self._today or (today == UNDATED and self._today != date.min):
            return
        await self.grants.start_day(today)
        if self._today != UNDATED:
            self._visits.clear()
        self._today = today

    async def recognise(self, request: web.Request) -> str | None:
        """The device behind *request*; None when it is not on a guest network.

        On this box's own networks the kernel tells; a device behind a thin router brings the cookie that it was
        given when its router sent it here.
        """
        address = _peer(request)
        device = await self._neighbours.device(address) if address else None
        if device is None and self.links and (text := request.cookies.get(cookie.NAME)):
            device = cookie.read_cookie(self._cookie_key, text, self._today, woke_today=self._woke_today)
            if device and key_parts(device)[0] not in self.links:
                return None
        return device

    async def enter(self, name: str, mac: str, wanted: str, signature: str) -> str | None:
        """The cookie for the device *mac*, which its router *name* sent here; None when the router did not.

        The page it *wanted* is offered once it is online. Who was asked today is let in before the page is shown.
        """
        link = self.links.get(name)
        page = unwrap(wanted)
        if link is None or page is None or not is_mac(mac) or not link.has_signed(mac, wanted, signature):
            return None
        device = device_key(name, mac)
        self.redirected(device)
        if url := wanted_page("GET", *page, "text/html"):
            self.visit(device).wanted = url
        if self.grants.was_asked(device) and not self.grants.is_online(device):
            await self.welcome_back(device)
        return cookie.make_cookie(self._cookie_key, name, mac, self._today)

    @property
    def _woke_today(self) -> bool:
        return time.monotonic() - self._woke < A_DAY

    def visit(self, device: str) -> Visit:
        """What *device* did today."""
        visit = self._visits.pop(device, None)
        if visit is None:
            visit = Visit()
            if len(self._visits) >= MAX_VISITS:
                del self._visits[next(iter(self._visits))]
        self._visits[device] = visit  # last in order: seen last
        return visit

    def guest(self, request: web.Request) -> Guest:
        """The guest behind *request*, without identity."""
        device = request[DEVICE]
        visit = self.visit(device)
        return Guest(
            venue=self._venue,
            network=key_parts(device)[0],
            response=self.token(device, visit),
            asked_today=visit.asked or self.grants.was_asked(device),
            started=visit.started,
            online=(online := self.grants.is_online(device)),
            refused=not online and self.grants.refusal(device) is not None,
        )

    def standing(self, device: str, visit: Visit) -> Standing | None:
        """How *device* stands, of which *visit* is today's; None when it is online."""
        if self.grants.is_online(device):
            return None
        asked = visit.asked or self.grants.was_asked(device)
        if refusal := self.grants.refusal(device):
            return Standing(refusal.reason, asked, visit.started, refusal.opens)
        if self.grants.has_spent(device):
            return SPENT
        return ASKED if asked else NEW

    def counts_as_shown(self, device: str, visit: Visit) -> bool:
        """Whether the first page that *device* gets now is to be counted: once a day, of who was not asked yet."""
        if visit.shown or visit.asked or self.grants.was_asked(device) or self.grants.is_trial(device):
            return False
        visit.shown = True
        self.figures.note(device, "shown")
        return True

    def admit(self, request: web.Request, token: str) -> UUID:
        """The response that this guest may write to. Raises `UserError` for any other.

        After a restart the device's page still carries the token from before; it is taken up again.
        """
        device = request[DEVICE]
        response = tokens.read(token, self._today, self._key_of(device), woke_today=self._woke_today)
        visit = self.visit(device)
        if response != visit.response:
            if visit.started:
                raise UserError("This page is out of date. Please open the survey again.", 409)
            visit.response, visit.token = response, token
        return response

    def token(self, device: str, visit: Visit) -> str:
        """The token under which *device* answers in this *visit*."""
        if not visit.token:
            visit.token = tokens.sign(visit.response, self._today, self._key_of(device))
        return visit.token

    def _key_of(self, device: str) -> bytes:
        """The key that signs for *device* alone: a token overheard on the air is worth nothing elsewhere.

        Only the page carries the signature; the store keeps the response's random id, which tells no device.
        """
        return hmac.digest(self._key, device.encode(), hashlib.sha256)

    def answered(self, request: web.Request, resume: str, *, finished: bool) -> None:
        """See `crm.web.Doorkeeper.answered`."""
        visit = self.visit(request[DEVICE])
        visit.started, visit.resume, visit.finished = True, resume, finished

    async def open(self, request: web.Request, language: str) -> web.StreamResponse:
        """Bring the guest online, and send it to the *You are online* page of the portal itself.

        The order is that of RFC 8952's clients: the kernel first, then the API's answer, then a full
        navigation, on which phones look again.
        """
        device = request[DEVICE]
        if not self.grants.is_online(device):
            try:
                await self._let_in(device, _peer(request))
            except Refusal:
                self.visit(device).asked = True
                return see_other(f"/{language}")  # which says why
            except GatewayError as error:
                log.error("a grant is waiting for the gateway", reason=str(error))  # noqa: TRY400
                raise UserError(PREPARED, 503) from None
        return see_other(f"/{language}/online")

    async def _let_in(self, device: str, address: str) -> None:
        """A grant, counted. What stands before it, an answer or a skip, is not in the time that is counted."""
        if self.grants.is_trial(device):
            return await self.grants.grant(device, address)
        began = time.monotonic()
        outcome: Outcome = "failed"
        try:
            await self.grants.grant(device, address)
            outcome = "granted"
        except Refusal as refusal:
            outcome = refusal.reason
            raise
        finally:
            self.figures.let_in(device, outcome, time.monotonic() - began)

    def redirected(self, device: str) -> None:
        """What *device* asked for was answered by the way to the portal."""
        visit = self.visit(device)
        if not (visit.redirected or self.grants.is_trial(device)):
            visit.redirected = True
            self.figures.note(device, "redirected")

    def on_join(self, device: str) -> None:
        """A device is there (again): whoever was asked today is online before its first probe is answered."""
        visit = self.visit(device)
        if not (visit.joined or self.grants.is_trial(device)):
            visit.joined = True
            self.figures.note(device, "joined")
        away = self.grants.was_asked(device) and not self.grants.is_online(device)
        if (
            away and self.grants.refusal(device) is None
        ):  # a router tells of it every ten seconds, closed or not
            task = asyncio.create_task(self.welcome_back(device))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def welcome_back(self, device: str, address: str = "") -> None:
        """Bring *device* online again without asking, if it may be.

        Whatever goes wrong is logged only: the probe that may be waiting must get its redirect, for a phone
        that gets an error opens no page at all.
        """
        try:
            await self._let_in(device, address)
        except Refusal:
            pass  # its page says why
        except GatewayError as error:
            log.warning("a returning guest is waiting for the gateway", reason=str(error))
        except Exception as error:
            log.exception("a returning guest could not be let in", error=type(error).__name__)

    def forget(self, devices: Collection[str]) -> None:
        """Forget visits (the demo's *play another phone*)."""
        for device in devices:
            self._visits.pop(device, None)


def _peer(request: web.Request) -> str:
    """The address that *request* comes from, as the connection itself has it; no header is believed."""
    return request.remote or ""
