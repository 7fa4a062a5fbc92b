"""Our table in the kernel, through libnftables: put there, changed, listed, taken away."""

import functools
import socket
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from nftables import Nftables

from captive.gateway import Lease, Terms
from captive.kernel.garden import host_set_names
from captive.kernel.metering import FRAME_HEADER, metered_sets
from captive.kernel.nft_listing import (
    Chain,
    Concatenated,
    Counter,
    Element,
    Item,
    Listed,
    chains_in,
    chains_in_text,
    items_of,
)
from captive.kernel.ruleset import TABLE, chains_of, render_ruleset
from captive.kernel.uplink_networks import uplink_networks
from crm.commands_here import to_install
from crm.errors import SetupError
from crm.settings import Network, Settings


class FirewallError(Exception):
    """The kernel did not take it; the message is nft's own."""


_NOTHING = Counter()


class Firewall:
    """One libnftables context; used by one thread at a time. Raises `SetupError` without the library."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            self._context = _make_context()
            self._listings = _make_context()
        except OSError:
            install = to_install("nftables", "nftables-json")
            raise SetupError(f"libnftables is not installed: {install}") from None
        self._listings.set_json_output(True)
        self._applied: dict[tuple[str, str], Chain] = {}
        self.beside: frozenset[str] = frozenset()
        """The networks that the uplink was in when they were put there."""

    def apply(self) -> None:
        """Put our tables there, or bring them up to date; leases stay. Raises `FirewallError`."""
        self.beside = self._beside_now()
        ruleset = self.ruleset()
        try:
            self._change(ruleset)
            strange = self._chains().keys() - chains_in_text(ruleset)
        except FirewallError:
            # A set of another shape, left by another release or other settings, stands in the way.
            strange = {("", "")}
        if strange:  # replace all
            anew = "".join(
                f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in self._families
            )
            self._change(anew + ruleset + self._transaction(self._terms_left()))
        self._applied = self._chains()

    def remove(self) -> None:
        """Take our tables away, with every lease."""
        self._change(
            "".join(f"table {each} {TABLE}\ndelete table {each} {TABLE}\n" for each in self._families)
        )

    def forget_hosts(self) -> None:
        """Empty the walled gardens; dnsmasq fills them as it answers. Raises `FirewallError`."""
        names = host_set_names(self._settings)
        self._change("".join(f"flush set inet {TABLE} {name}\n" for name in names))

    def change(self, terms: Mapping[str, Terms | None]) -> None:
        """Give each device its terms (None: shut it out) in one transaction. Raises `FirewallError`."""
        self._change(self._transaction(terms))

    def forget_counts(self, devices: Collection[str]) -> None:
        """Forget what *devices* took; one that is let through again is counted anew. Raises `FirewallError`."""
        for network in self._settings.networks:
            keys = _keys_of(devices, network)
            lines = [
                line for family, name in self._metered(network) for line in _taken_out(family, name, keys)
            ]
            if lines:
                self._change("\n".join(lines) + "\n")

    def strays(self) -> set[str]:
        """Devices that are counted and not let through. Raises `FirewallError`.

        Something still came down to them, or their time ran out while nobody could be told to forget them.
        """
        found: set[str] = set()
        for network in self._settings.networks:
            # In this order: a device that is let through meanwhile is no stray.
            counted = {*self._elements("inet", f"up_{network.name}")}
            counted |= self._elements("netdev", f"down_{network.name}").keys() if self.egress else set()
            strays = counted - self._elements("inet", f"allowed_{network.name}").keys()
            found |= {f"{network.name} {key}" for key in strays}
        return found

    def leases(self, *, counts: bool = False) -> dict[str, Lease]:
        """Every device allowed now. Raises `FirewallError` when there is no table of ours."""
        found: dict[str, Lease] = {}
        for network in self._settings.networks:
            allowed = self._elements("inet", f"allowed_{network.name}")
            up = self._elements("inet", f"up_{network.name}") if counts else {}
            down = self._elements("netdev", f"down_{network.name}") if counts and self.egress else {}
            for key, element in allowed.items():
                sent = up[key].counter if key in up else _NOTHING
                got = down[key].counter if key in down else _NOTHING
                # Uploads are met as IP packets, downloads as frames: both are told as frames.
                frames = sent.bytes + FRAME_HEADER * sent.packets
                found[f"{network.name} {key}"] = Lease(element.expires, frames, got.bytes)
        return found

    def present(self) -> bool:
        """Whether the kernel has a table of our name."""
        try:
            self._listing(f"list table inet {TABLE}")
        except FirewallError:
            return False
        return True

    def wrong(self) -> str:
        """Why `apply` is due again; empty when it is not. Raises `FirewallError`."""
        if self._beside_now() != self.beside:
            return "the uplink is in other networks"
        return "" if self.intact() else "it was missing, or changed"

    def _beside_now(self) -> frozenset[str]:
        try:
            return uplink_networks(self._settings.uplink.interface)
        except OSError as error:
            raise FirewallError(f"the uplink's addresses cannot be read: {error}") from None

    def intact(self) -> bool:
        """Whether our tables are as `apply` left them; before it, whether all chains have rules."""
        try:
            there = self._chains()
        except FirewallError:
            return False
        wanted = chains_in_text(self.ruleset())
        if self._applied:
            return there == self._applied and there.keys() == wanted
        always = {("inet", name) for name in chains_of(self._settings)}
        always |= {key for key in wanted if key[0] == "netdev"}
        return {key for key, chain in there.items() if chain.rules} >= always

    @functools.cached_property
    def egress(self) -> bool:
        """Whether this kernel has the egress hook (Linux 5.16), in which downloads are met.

        Without it they are neither counted nor limited. An interface that is not there yet is no reason.
        """
        probe = (
            'add table netdev {0}_probe\nadd chain netdev {0}_probe c {{ type filter hook egress device "lo" '
        )
        try:
            self._change((probe + "priority filter; }}\ndelete table netdev {0}_probe\n").format(TABLE))
        except FirewallError:
            return False
        return True

    @property
    def _families(self) -> tuple[str, ...]:
        return ("inet", "netdev") if self.egress else ("inet",)

    def ruleset(self) -> str:
        """The text of our tables for this kernel and the interfaces that there are."""
        return render_ruleset(
            self._settings, egress=self.egress, interfaces=self._interfaces(), beside=self.beside
        )

    def _interfaces(self) -> set[str]:
        there = {name for _, name in socket.if_nameindex()}
        return {network.interface for network in self._settings.networks} & there

    def _terms_left(self) -> dict[str, Terms]:
        """What is left of the leases in the table that is there, where its sets are still of our shape."""
        terms: dict[str, Terms] = {}
        for network in self._settings.networks:
            try:
                left = self._elements("inet", f"allowed_{network.name}")
            except FirewallError:  # no table yet, or one without this network
                continue
            words = 2 if network.identity == "mac+ip" else 1
            terms |= {
                f"{network.name} {key}": Terms(element.expires, fresh=False)
                for key, element in left.items()
                if element.expires and len(key.split()) == words
            }
        return terms

    def _elements(self, family: str, name: str) -> dict[str, Element]:
        items = self._listing(f"list set {family} {TABLE} {name}", elements=True)
        listed = [each for item in items if item.set for each in item.set.elem]
        return dict(map(_keyed, listed))

    def _chains(self) -> dict[tuple[str, str], Chain]:
        """{(family, name): what is in the chain} of our tables. Raises `FirewallError`."""
        return chains_in({family: self._listing(f"list table {family} {TABLE}") for family in self._families})

    def _transaction(self, terms: Mapping[str, Terms | None]) -> str:
        """The transaction: an element's timeout is renewed by taking it out and in again, in one commit.

        It is added before it is taken out because taking out what is not there fails; packets see the state
        before or after the whole, never in between.
        """
        text = []
        for network in self._settings.networks:
            keys = _keys_of(terms, network)
            given = {key: terms[device] for key, device in keys.items()}
            if not given:
                continue
            text += _taken_out("inet", f"allowed_{network.name}", given)
            anew = [key for key, each in given.items() if each is None or each.fresh]
            text += [
                line for family, name in self._metered(network) for line in _taken_out(family, name, anew)
            ]
            new = ", ".join(f"{key} timeout {each.seconds}s" for key, each in given.items() if each)
            text += [f"add element inet {TABLE} allowed_{network.name} {{ {new} }}"] if new else []
        return "\n".join(text) + "\n"

    def _metered(self, network: Network) -> list[tuple[str, str]]:
        """(family, set) of everything that begins anew with a grant."""
        down = metered_sets(network, "down") if self.egress else []
        return [("inet", name) for name in metered_sets(network, "up")] + [("netdev", name) for name in down]

    def _change(self, text: str) -> None:
        code, _, error = self._context.cmd(text.encode())
        if code:
            raise FirewallError(_first_line(error))

    def _listing(self, command: str, *, elements: bool = False) -> list[Item]:
        self._listings.set_terse_output(not elements)
        code, output, error = self._listings.cmd(command.encode())
        if code:
            raise FirewallError(_first_line(error))
        try:
            return items_of(output)
        except msgspec.MsgspecError as error:  # elements of a kind that we do not make
            raise FirewallError(f"the listing is not understood: {error}") from None


def _make_context() -> Any:  # noqa: ANN401 - the binding has no types
    return Nftables()  # type: ignore[no-untyped-call]


def _keyed(listed: Listed | str) -> tuple[str, Element]:
    """(key, element); an element without an end has 0 seconds left."""
    if isinstance(listed, str):
        return listed, Element(listed)
    element = listed.elem or Element(Concatenated(listed.concat))
    return element.val if isinstance(element.val, str) else " ".join(element.val.concat), element


def _keys_of(devices: Collection[str], network: Network) -> dict[str, str]:
    """{key in the sets of *network*: device} of those of *devices* that are on it."""
    start = f"{network.name} "
    return {each.removeprefix(start).replace(" ", " . "): each for each in devices if each.startswith(start)}


def _taken_out(family: str, name: str, keys: Collection[str]) -> list[str]:
    element = f"element {family} {TABLE} {name} {{ {', '.join(keys)} }}"
    return [f"add {element}", f"delete {element}"] if keys else []


def _first_line(error: bytes) -> str:
    return error.decode("utf-8", "replace").strip().partition("\n")[0] or "nft gave no reason"
