"""Our table in the kernel, through libnftables: put there, changed, listed, taken away."""

import functools
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from nftables import Nftables

from captive.gateway import Lease, Terms
from captive.metering import metered_sets
from captive.ruleset import TABLE, chains_of, render_ruleset
from crm.errors import SetupError
from crm.settings import Network, Settings


class FirewallError(Exception):
    """The kernel did not take it; the message is nft's own."""


class _Counter(msgspec.Struct):
    bytes: int = 0


class _Concatenated(msgspec.Struct):
    concat: list[str]


class _Element(msgspec.Struct):
    val: str | _Concatenated
    expires: int = 0
    counter: _Counter = msgspec.field(default_factory=_Counter)


class _Wrapped(msgspec.Struct):
    elem: _Element


class _Set(msgspec.Struct):
    elem: list[_Wrapped] = []


class _Rule(msgspec.Struct):
    chain: str


class _Item(msgspec.Struct):
    set: _Set | None = None
    rule: _Rule | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]


class Firewall:
    """One libnftables context; used by one thread at a time. Raises `SetupError` without the library."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            self._context = _make_context()
            self._listings = _make_context()
        except OSError:
            raise SetupError(
                "libnftables is not installed: apt-get install nftables (it brings libnftables1)"
            ) from None
        self._listings.set_json_output(True)

    def apply(self) -> None:
        """Put our tables there, or bring them up to date; leases stay. Raises `FirewallError`."""
        ruleset = self._ruleset()
        try:
            self._change(ruleset)
        except FirewallError:
            # A set of another shape, left by another release or other settings, stands in the way: replace all.
            leases = self._leases_left()
            anew = "".join(
                f"table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in self._families
            )
            terms = {
                device: Terms(lease.seconds, fresh=False) for device, lease in leases.items() if lease.seconds
            }
            self._change(anew + ruleset + self._transaction(terms))

    def remove(self) -> None:
        """Take our tables away, with every lease."""
        self._change(
            "".join(f"table {each} {TABLE}\ndelete table {each} {TABLE}\n" for each in self._families)
        )

    def change(self, terms: Mapping[str, Terms | None]) -> None:
        """Give each device its terms (None: shut it out) in one transaction. Raises `FirewallError`."""
        self._change(self._transaction(terms))

    def leases(self, *, counts: bool = False) -> dict[str, Lease]:
        """Every device allowed now. Raises `FirewallError` when there is no table of ours."""
        found: dict[str, Lease] = {}
        for network in self._settings.networks:
            allowed = self._elements("inet", f"allowed_{network.name}")
            up = self._elements("inet", f"up_{network.name}") if counts else {}
            down = self._elements("netdev", f"down_{network.name}") if counts and self.egress else {}
            for key, element in allowed.items():
                sent, got = (each[key].counter.bytes if key in each else 0 for each in (up, down))
                found[f"{network.name} {key}"] = Lease(element.expires, sent, got)
        return found

    def present(self) -> bool:
        """Whether the kernel has a table of our name."""
        try:
            self._listing(f"list table inet {TABLE}")
        except FirewallError:
            return False
        return True

    def intact(self) -> bool:
        """Whether our tables are there with rules in all their chains."""
        wanted = {"inet": chains_of(self._settings)}
        if self.egress:
            wanted["netdev"] = {f"egress_{network.name}" for network in self._settings.networks}
        try:
            return all(self._chains_with_rules(family) >= chains for family, chains in wanted.items())
        except FirewallError:
            return False

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

    def _ruleset(self) -> str:
        return render_ruleset(self._settings, egress=self.egress)

    def _leases_left(self) -> dict[str, Lease]:
        try:
            return self.leases()
        except FirewallError:  # no table yet, or one without these networks
            return {}

    def _elements(self, family: str, name: str) -> dict[str, _Element]:
        items = self._listing(f"list set {family} {TABLE} {name}", elements=True)
        elements = [wrapped.elem for item in items if item.set for wrapped in item.set.elem]
        return {e.val if isinstance(e.val, str) else " ".join(e.val.concat): e for e in elements}

    def _chains_with_rules(self, family: str) -> set[str]:
        return {item.rule.chain for item in self._listing(f"list table {family} {TABLE}") if item.rule}

    def _transaction(self, terms: Mapping[str, Terms | None]) -> str:
        """The transaction: an element's timeout is renewed by taking it out and in again, in one commit.

        It is added before it is taken out because taking out what is not there fails; packets see the state
        before or after the whole, never in between.
        """
        text = []
        for network in self._settings.networks:
            start = f"{network.name} "
            given = {
                device.removeprefix(start).replace(" ", " . "): each
                for device, each in terms.items()
                if device.startswith(start)
            }
            if not given:
                continue
            text += _taken_out("inet", f"allowed_{network.name}", given)
            fresh = [key for key, each in given.items() if each and each.fresh]
            text += [
                line for family, name in self._metered(network) for line in _taken_out(family, name, fresh)
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

    def _listing(self, command: str, *, elements: bool = False) -> list[_Item]:
        self._listings.set_terse_output(not elements)
        code, output, error = self._listings.cmd(command.encode())
        if code:
            raise FirewallError(_first_line(error))
        return msgspec.json.decode(output, type=_Listing).nftables


def _make_context() -> Any:  # noqa: ANN401 - the binding has no types
    return Nftables()  # type: ignore[no-untyped-call]


def _taken_out(family: str, name: str, keys: Collection[str]) -> list[str]:
    element = f"element {family} {TABLE} {name} {{ {', '.join(keys)} }}"
    return [f"add {element}", f"delete {element}"] if keys else []


def _first_line(error: bytes) -> str:
    return error.decode("utf-8", "replace").strip().partition("\n")[0] or "nft gave no reason"
