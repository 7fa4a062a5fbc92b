"""Our table in the kernel, through libnftables: put there, changed, listed, taken away."""

from collections.abc import Mapping
from typing import Any

import msgspec
from nftables import Nftables

from captive.gateway import Lease
from captive.ruleset import CHAINS, TABLE, render_ruleset
from crm.errors import SetupError
from crm.settings import Settings


class FirewallError(Exception):
    """The kernel did not take it; the message is nft's own."""


class _Counter(msgspec.Struct):
    packets: int = 0
    bytes: int = 0


class _Element(msgspec.Struct):
    val: str
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
            self._changes = _make_context()
            self._listings = _make_context()
        except OSError:
            raise SetupError(
                "libnftables is not installed: apt-get install nftables (it brings libnftables1)"
            ) from None
        self._listings.set_json_output(True)

    def apply(self) -> None:
        """Put our table there, or bring it up to date; leases stay. Raises `FirewallError`."""
        ruleset = render_ruleset(self._settings)
        try:
            self._change(ruleset)
        except FirewallError:
            # A set of another shape, left by another release, stands in the way: replace all of it.
            leases = self.leases() if self.present() else {}
            anew = f"table inet {TABLE}\ndelete table inet {TABLE}\n{ruleset}"
            self._change(anew + _changes({mac: lease.seconds for mac, lease in leases.items()}))

    def remove(self) -> None:
        """Take our table away, with every lease."""
        self._change(f"table inet {TABLE}\ndelete table inet {TABLE}\n")

    def change(self, seconds: Mapping[str, int]) -> None:
        """Give each MAC its seconds from now (0: none) in one transaction. Raises `FirewallError`."""
        self._change(_changes(seconds))

    def leases(self) -> dict[str, Lease]:
        """Every device allowed now. Raises `FirewallError` when there is no table of ours."""
        items = self._listing(f"list set inet {TABLE} allowed", elements=True)
        elements = [wrapped.elem for item in items if item.set for wrapped in item.set.elem]
        return {e.val: Lease(e.expires, e.counter.packets, e.counter.bytes) for e in elements}

    def present(self) -> bool:
        """Whether the kernel has a table of our name."""
        try:
            self._listing(f"list table inet {TABLE}")
        except FirewallError:
            return False
        return True

    def intact(self) -> bool:
        """Whether our table is there with rules in all its chains."""
        try:
            items = self._listing(f"list table inet {TABLE}")
        except FirewallError:
            return False
        return {item.rule.chain for item in items if item.rule}.issuperset(CHAINS)

    def _change(self, text: str) -> None:
        code, _, error = self._changes.cmd(text.encode())
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


def _changes(seconds: Mapping[str, int]) -> str:
    """The transaction: an element's timeout is renewed by taking it out and in again, in one commit.

    It is added before it is taken out because taking out what is not there fails; packets see the state
    before or after the whole, never in between.
    """
    if not seconds:
        return ""
    command, keys = f"element inet {TABLE} allowed", ", ".join(seconds)
    text = f"add {command} {{ {keys} }}\ndelete {command} {{ {keys} }}\n"
    given = ", ".join(f"{mac} timeout {left}s" for mac, left in seconds.items() if left > 0)
    return text + (f"add {command} {{ {given} }}\n" if given else "")


def _first_line(error: bytes) -> str:
    return error.decode("utf-8", "replace").strip().partition("\n")[0] or "nft gave no reason"
