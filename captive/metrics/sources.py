"""Where the figures come from: parts of the running portal, built in `captive.app` and handed over here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from captive.certificate import Certificate
from captive.grants.book import Book
from captive.metrics.guests import GuestFigures
from captive.metrics.timed_gateway import TimedGateway
from captive.store_care import StoreCare
from crm.settings import Settings
from crm.store import Store
from crm.web import Clock


class RouterState(Protocol):
    """A thin router, as far as the figures tell of it."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    @property
    def is_live(self) -> bool:
        """Whether it is connected and has reported."""

    @property
    def report_age(self) -> float | None:
        """Seconds since it last reported; None: never since the portal started."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that is looked at."""

    settings: Settings
    clock: Clock
    crm: Store
    access: Store
    care: StoreCare
    book: Book
    guests: GuestFigures
    gate: TimedGateway | None
    """None where this box has no guests of its own."""
    routers: Callable[[], Iterable[RouterState]]
    certificate: Certificate
    has_pages: Callable[[], bool]
    """Whether the first pages were rendered."""

    def is_usable(self, name: str) -> bool:
        """Whether the store *name* (crm, access) takes what is written to it."""
        store = self.crm if name == "crm" else self.access
        behind = name == "access" and self.book.is_behind
        return self.care.is_fit(name) and not store.failing and not behind
