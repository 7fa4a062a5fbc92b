"""The link to one thin router: a `captive.gateway.Gateway` for the devices of its network.

It keeps nothing that must last: the book of grants is the truth, and `captive.grants.grants.Grants.reconcile`
puts a router right after its first report, whatever was missed while it was away.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

import structlog

from captive.gateway import GatewayError, Lease, Terms, device_key, key_parts
from captive.routers.session import Opening, Session
from captive.routers.wire import (
    Report,
    ReportHead,
    StreamRequest,
    config_text,
    enter_text,
    is_signature,
    is_signed,
    parse_report,
    session_key,
)
from crm.settings import Router

log = structlog.get_logger()

SETTLE = 0.1
"""Seconds between a line that is sent and the open way behind it: the router carries it out meanwhile."""
PATIENCE = 2.0
"""Seconds that anybody waits for a line to be sent."""
AGAIN_SECONDS = 60.0
"""Within which six streams of one router are too many."""
SALT_LIFE = 660.0
"""Seconds for which a signed redirect is good at most, also of a router that is away since: it uses none for longer."""
ALWAYS_SECONDS = 7 * 24 * 3600
"""For which devices that are always online are let through; told anew when a day of it is gone."""


class RouterLink:
    """One router as the portal knows it, connected or not."""

    def __init__(self, place: Router, host: str) -> None:
        """*host* is the portal's name."""
        self.place = place
        self.name = place.name
        self.on_join: Callable[[str], None] = _nobody_cares
        """Told the key of each device that is there (again) and not let through."""
        self.revocation: Callable[[], tuple[str, ...]] = tuple
        """Hosts where phones ask about the portal's certificate."""
        self.version = ""
        self.since = 0.0
        """Since when it is connected, by the wall clock; 0 while it is away."""
        self._host = host
        self._salts: deque[tuple[bytes, float]] = deque(maxlen=2)
        self._begun: deque[float] = deque(maxlen=6)
        self._session: Session | None = None
        self._live = False
        self._reported: float | None = None

    @property
    def report_age(self) -> float | None:
        """Seconds since it last reported; None: never since the portal started."""
        return None if self._reported is None else _now() - self._reported

    @property
    def session(self) -> bytes:
        """The name of the session under way, with which its reports begin; empty while there is none."""
        return self._session.opening.id.encode() if self._session else b""

    @property
    def is_live(self) -> bool:
        """Whether the router has reported, so that `list` tells what is so."""
        return self._live

    @property
    def devices(self) -> int:
        """How many are let through now, as far as it is known."""
        return len(self._leases())

    # -- what the listener does -----------------------------------------------------------------------

    def begin(self, key: bytes, request: StreamRequest, still_good: Callable[[], bool]) -> Session:
        """A stream of the router begins, and ends one that it may still have."""
        if self._session:
            self._session.end()
        down, up = (session_key(key, way, request) for way in ("down", "up"))
        opening = Opening(secrets.token_hex(16), down, up)
        self._session = Session(
            opening,
            lambda: config_text(self.place, self._host, self.revocation()),
            self._new_salt,
            still_good,
        )
        self._live, self.since = False, time.time()
        self._note_begin(_now())
        return self._session

    def _note_begin(self, now: float) -> None:
        """Two routers with one name and key end each other's streams for ever: say so, once a minute."""
        self._begun.append(now)
        if len(self._begun) == self._begun.maxlen and now - self._begun[0] < AGAIN_SECONDS:
            log.warning(
                "a router connects again and again: have two of them its name and key?", router=self.name
            )
            self._begun.clear()

    def finish(self, session: Session) -> None:
        """The stream of *session* is over."""
        session.end()
        if self._session is session:
            if self._live:
                log.warning("a router is away", router=self.name)
            self._session, self._live, self.since = None, False, 0.0

    def take_report(self, head: ReportHead, body: bytes) -> bool:
        """Take in what the router reports; False when it is forged, old, or not of its session.

        Raises `captive.routers.wire.WireError` when it cannot be understood.
        """
        session = self._session
        if session is None or head.session != session.opening.id or not session.takes(head, body):
            return False
        report = parse_report(body)
        self._reported = _now()
        session.mirror.take(report, self._reported)
        self.version = report.version or self.version
        if not self._live:
            self._live = True
            log.info("a router is here", router=self.name, version=self.version, away=report.away)
        self._keep_always(session, report)
        for mac in report.present:
            if mac not in report.leases:
                self.on_join(device_key(self.name, mac))
        return True

    def _keep_always(self, session: Session, report: Report) -> None:
        for mac in self.place.always:
            lease = report.leases.get(mac)
            if mac not in session.mirror.said and (lease is None or lease.seconds < ALWAYS_SECONDS - 86_400):
                session.order(mac, Terms(ALWAYS_SECONDS, fresh=lease is None))

    def has_signed(self, mac: str, wanted: str, signature: str) -> bool:
        """Whether the router sent the device *mac* to us, a few minutes ago at most."""
        text, now = enter_text(self.name, mac, wanted), _now()
        return is_signature(signature) and any(
            is_signed(salt, text, signature) for salt, until in self._salts if now < until
        )

    def _new_salt(self) -> str:
        salt = secrets.token_hex(32)
        self._salts.append((salt.encode(), _now() + SALT_LIFE))
        return salt

    # -- what the book of grants does -----------------------------------------------------------------

    async def allow(self, leases: Mapping[str, Terms]) -> None:
        """See `captive.gateway.Gateway.allow`."""
        session = self._session
        if session is None:
            raise GatewayError(
                f"the router {self.name} is not connected; wificrm router list shows since when"
            )
        for device, terms in leases.items():
            session.order(key_parts(device)[1], terms)
        await self._written(session)
        await asyncio.sleep(SETTLE)

    async def deny(self, devices: Collection[str]) -> None:
        """See `captive.gateway.Gateway.deny`; not waited for: what did not get there is found by the next look."""
        if self._session:
            for device in devices:
                self._session.order(key_parts(device)[1], None)

    async def list(self, *, counts: bool = False) -> dict[str, Lease]:  # noqa: ARG002 - each report has them
        """What the router last reported, and what it was told since; nobody while it is away."""
        always = self.place.always
        return {
            device_key(self.name, mac): lease for mac, lease in self._leases().items() if mac not in always
        }

    async def close(self) -> None:
        """End the stream; leases stay in force."""
        self._live = False
        if self._session:
            self._session.end()

    def _leases(self) -> dict[str, Lease]:
        return self._session.mirror.leases(_now()) if self._session and self._live else {}

    async def _written(self, session: Session) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await session.written()
        except TimeoutError:
            raise GatewayError(f"the router {self.name} does not take what it is told") from None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _nobody_cares(_device: str) -> None:
    pass
