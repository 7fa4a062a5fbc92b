"""One phone on one network: what it knows of the box, what it has learned so far, and how it looks at things."""

import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from captive.box.check import addresses_of, foreign_tables
from captive.certificate import Verdict, offered_api
from captive.doctor.phone import dhcp
from captive.doctor.phone.advertisements import Advertisement
from captive.doctor.phone.handset import Handset
from captive.doctor.phone.joining import Heard
from captive.doctor.phone.probes import LOCAL_NAME
from captive.doctor.phone.resolving import AAAA, SILENT, A, Reply, resolve
from captive.doctor.phone.web import Page, ask
from captive.doctor.trial import Trials
from captive.doctor.uplink import Uplink
from captive.gateway import device_key
from crm.settings import Network, Settings

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 12
"""Questions of one phone at a time."""


class StoppedError(Exception):
    """Somebody does not want to know any more."""


@dataclass(frozen=True)
class Box:
    """What is known of the box before a phone is played."""

    settings: Settings
    verdict: Verdict
    uplink: Uplink
    faults: frozenset[str]
    """What of the box has a fault, so that a phone's trouble is not blamed on something else."""


@dataclass
class Play:
    """A phone that is being played. `close` it."""

    box: Box
    network: Network
    phone: Handset
    trials: Trials
    stop: threading.Event
    lease: dhcp.Message | None = None
    six: bool = False  # it has an IPv6 address
    heard: list[Advertisement] = field(default_factory=list)
    around: Future[tuple[list[Heard], list[Heard]]] | None = None
    offered: Future[set[str]] | None = None
    replies: dict[tuple[str, int], Reply] = field(default_factory=dict)
    skip: tuple[str, str] | None = None  # the form that brings it online: path, token

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="phone")
        self._noting: Future[str] | None = None

    def close(self) -> None:
        """Let go of its threads."""
        self.pool.shutdown(cancel_futures=True)

    @property
    def settings(self) -> Settings:
        """The settings of the box."""
        return self.box.settings

    @property
    def own4(self) -> str:
        """The box's address on this network."""
        return str(self.network.net4.ip)

    @property
    def own6(self) -> str:
        """The same for IPv6; "" without."""
        return str(self.network.net6.ip) if self.network.net6 else ""

    @property
    def resolver(self) -> str:
        """The resolver that the lease names."""
        return (self.lease.address_of(dhcp.RESOLVER) if self.lease else "") or self.own4

    @property
    def device(self) -> str:
        """By what the portal knows the phone."""
        address = self.lease.address if self.lease and self.network.identity == "mac+ip" else ""
        return device_key(self.network.name, self.phone.mac, address)

    @property
    def families(self) -> tuple[int, ...]:
        """The families of addresses that it has."""
        return (4, 6) if self.six else (4,)

    @property
    def is_secure(self) -> bool:
        """Whether the portal is to be met over https."""
        return self.settings.tls and not self.box.verdict.fault

    @property
    def api(self) -> str:
        """The URI that phones should be told of; "" for none."""
        return offered_api(self.settings, self.box.verdict)

    def origin(self, family: int = 4) -> str:
        """Where the portal should send phones, without a path."""
        if name := self.settings.portal.name:
            return f"http{'s' if self.is_secure else ''}://{name}"
        return f"http://{self.own4}" if family == 4 else f"http://[{self.own6}]"

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Whom phones of this venue trust: the world's authorities, and the portal's own."""
        context = ssl.create_default_context()
        if self.is_secure and not self.box.verdict.public:
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            context.load_verify_locations(
                cadata=Path(self.settings.portal.certificate).read_text("ascii", "replace")
            )
        return context

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """*work* on all *items*, several at a time. Raises `StoppedError`."""
        self.go_on()
        return list(self.pool.map(work, items))

    def go_on(self) -> None:
        """Raise `StoppedError` if nobody waits for more."""
        if self.stop.is_set():
            raise StoppedError

    def announce(self) -> None:
        """Have the portal told, meanwhile, that this phone is the doctor's. Once it has a lease."""
        self._noting = self.pool.submit(self.trials.begin, self.device)

    @cached_property
    def unnoted(self) -> str:
        """Why the portal does not know that this phone is the doctor's; "": it does."""
        return self._noting.result() if self._noting else "the portal was not told"

    @cached_property
    def foreign_tables(self) -> tuple[str, ...]:
        """Tables of others that have a say in what guests' packets meet."""
        return foreign_tables()

    @property
    def suspects(self) -> str:
        """Where to look for the rule that is in guests' way."""
        if others := ", ".join(self.foreign_tables):
            return f"table {others} is not ours (nft list ruleset)"
        return "nft list ruleset; wificrm gateway apply"

    @cached_property
    def own_addresses(self) -> tuple[str, ...]:
        """Where the box can be met: on this network, and at its uplink."""
        uplink = [
            str(each) for each in addresses_of(self.settings.uplink.interface) or () if each.version == 4
        ]
        return (self.own4, *([self.own6] if self.six else []), *uplink[:1])

    def resolve(self, name: str, family: int = 4) -> Reply:
        """What its resolver says of *name*; asked once, and not at all where nobody could know it."""
        key = name, A if family == 4 else AAAA
        if not self.box.uplink.resolvers and name not in (LOCAL_NAME, self.settings.portal.name):
            return Reply(SILENT)
        if key not in self.replies:
            self.replies[key] = resolve(
                self.phone.make_socket, self.resolver, *key, tries=self.box.uplink.tries
            )
        return self.replies[key]

    def visit(
        self, path: str, *, form: str | None = None, accept: str = "text/html", family: int = 4
    ) -> Page:
        """A page of the portal's; raises as `ask`."""
        address = self.own4 if family == 4 else self.own6
        return ask(
            self.phone.make_socket,
            address,
            self.origin(family) + path,
            accept=accept,
            form=form,
            trust=self.trust,
            agent="Mozilla/5.0 (wificrm doctor)",
        )
