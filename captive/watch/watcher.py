"""``wificrm watch``: listens, tells the log, the metrics and the webhook; or shows it to somebody at a terminal."""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog

from captive.signals import catch_stop
from captive.watch.advice import SHORT
from captive.watch.alarms import Alarms, Message
from captive.watch.detail import describe
from captive.watch.observer import Observer, Sighting, may_listen
from captive.watch.state_file import Counters, state_path, write_counters
from captive.watch.webhook import Webhook
from crm.errors import SetupError
from crm.settings import Settings
from crm.times import is_sound

log = structlog.get_logger()

TICK = 0.2
"""Seconds between two turns: what a flood costs is what is read in one, five times a second."""
STATE_SECONDS, STATE_AT_LEAST = 2.0, 60.0
"""Between two writings of the state at least, and at most: an old file tells that nobody watches."""
SHOWN_A_TURN = 20
"""Lines that are shown at once; nobody reads more."""
PERSONAL = (
    "What follows names devices, and so people: personal data. It is shown here and kept nowhere.\n"
    "Do not copy it; end with Ctrl-C.\n"
)


class Reporter:
    """Tells of what was seen."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.venue.timezone)
        self._alarms = Alarms(settings.watch.repeat_minutes * 60.0)
        self._counters = Counters()
        self._path = state_path(settings)
        self._webhook = Webhook(settings.watch.webhook) if settings.watch.webhook else None
        self._changed, self._written, self._failed = True, float("-inf"), False

    def see(self, sighting: Sighting, now: float) -> None:
        """Take note of *sighting*, and tell of it when it is new."""
        kind = sighting.cause.kind
        self._counters.seen[kind] = int(time.time())
        self._changed = True
        message = self._alarms.see(sighting.cause, sighting.times, now, self._local_time())
        if message:
            self._tell(message)

    def turn(self, now: float) -> None:
        """Tell what is due, write the state."""
        for message in self._alarms.due(now):
            self._tell(message)
        since = now - self._written
        if since >= STATE_AT_LEAST or (self._changed and since >= STATE_SECONDS):
            self._write(now)

    async def close(self) -> None:
        """Write the last state; the webhook gets a few seconds for what waits."""
        self._write(time.monotonic())
        if self._webhook:
            await self._webhook.close()

    def _tell(self, message: Message) -> None:
        cause = message.cause
        if message.state == "over":
            log.info("quiet again", kind=cause.kind.value, what=cause.what, **_where(message))
        else:
            self._counters.alerts[cause.kind] += 1
            self._changed = True
            log.warning(
                SHORT[cause.kind],
                kind=cause.kind.value,
                what=cause.what,
                **_where(message),
                count=message.times,
                text=message.text,
            )
        if self._webhook:
            self._webhook.post(self._body(message))

    def _body(self, message: Message) -> dict[str, object]:
        return {
            "centre": self._settings.venue.code,
            "kind": message.cause.kind.value,
            "what": message.cause.what,
            "state": message.state,
            **_where(message),
            "count": message.times,
            "first": message.first and message.first.isoformat(timespec="seconds"),
            "last": message.last and message.last.isoformat(timespec="seconds"),
            "text": message.text,
        }

    def _local_time(self) -> datetime | None:
        now = datetime.now(UTC)
        return now.astimezone(self._zone) if is_sound(now) else None

    def _write(self, now: float) -> None:
        self._written = now
        try:
            write_counters(self._path, self._counters)
        except OSError as error:
            if not self._failed:
                log.warning(
                    "the metrics will not hear of this watch", file=str(self._path), reason=error.strerror
                )
            self._failed = True
        else:
            self._changed = self._failed = False


def _where(message: Message) -> dict[str, str]:
    place = message.cause.place
    return {"network": place.network, "port": place.port}


async def watch(settings: Settings) -> None:
    """Listen and tell until SIGTERM or Ctrl-C. Raises `SetupError` where nothing can be heard."""
    stop = catch_stop()
    with _listening(settings) as observer:
        reporter = Reporter(settings)
        log.info("watching", ports=" ".join(observer.ports) or "none yet")
        try:
            while not stop.is_set():
                now = time.monotonic()
                for sighting in observer.turn(now):
                    reporter.see(sighting, now)
                reporter.turn(now)
                await _pause(stop)
        finally:
            await reporter.close()


async def show(settings: Settings) -> None:
    """Show sightings with the devices they come from until Ctrl-C. Raises `SetupError` where that cannot be."""
    if not sys.stdout.isatty():
        raise SetupError("--show names devices, so it writes to a terminal only, not to a file or a pipe")
    stop = catch_stop()
    with _listening(settings) as observer:
        sys.stdout.write(PERSONAL + f"Listening at {', '.join(observer.ports) or 'no port yet'}.\n")
        while not stop.is_set():
            sightings = list(observer.turn(time.monotonic()))
            for sighting in sightings[:SHOWN_A_TURN]:
                sys.stdout.write(_line(sighting, ZoneInfo(settings.venue.timezone)) + "\n")
            if len(sightings) > SHOWN_A_TURN:
                sys.stdout.write(f"... and {len(sightings) - SHOWN_A_TURN} more\n")
            sys.stdout.flush()
            await _pause(stop)


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[Observer]:
    problem = may_listen()
    if problem:
        raise SetupError(f"the watch needs root or CAP_NET_RAW to hear the guests' ports: {problem}")
    observer = Observer(settings.networks, time.monotonic(), lambda: secrets.randbits(32))
    try:
        yield observer
    finally:
        observer.close()


async def _pause(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), TICK)


def _line(sighting: Sighting, zone: ZoneInfo) -> str:
    cause = sighting.cause
    places = [cause.place, *([cause.other] if cause.other else [])]
    where = " and ".join(f"{place.port} ({place.network})" for place in places)
    who = sighting.mac.hex(":") or "many devices"
    clock = datetime.now(zone).strftime("%H:%M:%S")
    return f"{clock}  {cause.kind} {cause.what}  {where}  {who}  {sighting.times}  {describe(sighting.frame)}".rstrip()
