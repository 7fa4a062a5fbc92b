"""What nft lists, read into objects; and what is in chains, to be compared. Rules only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec


class Counter(msgspec.Struct):
    """What was met."""

    packets: int = 0
    bytes: int = 0


class Concatenated(msgspec.Struct):
    """A key of several parts."""

    concat: list[str]


class Element(msgspec.Struct):
    """An element of a set: *expires* in seconds."""

    val: str | Concatenated
    expires: int = 0
    counter: Counter = msgspec.field(default_factory=Counter)


class Listed(msgspec.Struct):
    """An element with what belongs to it, or a bare concatenated key (*elem* is None): one for ever, not ours."""

    elem: Element | None = None
    concat: list[str] = []


class _Set(msgspec.Struct):
    elem: list[Listed | str] = []


class _Rule(msgspec.Struct):
    chain: str
    expr: msgspec.Raw = msgspec.Raw(b"")


class _Chain(msgspec.Struct):
    name: str
    hook: str = ""
    prio: int = 0
    policy: str = ""


class Item(msgspec.Struct):
    """One object of a listing; what is not named here is passed over."""

    set: _Set | None = None
    rule: _Rule | None = None
    chain: _Chain | None = None


class _Listing(msgspec.Struct):
    nftables: list[Item]


@dataclass(slots=True)
class Chain:
    """What a chain is and what it holds, for comparison only."""

    nature: tuple[str, int, str] = ("", 0, "")
    rules: list[bytes] = field(default_factory=list)


def items_of(listing: str) -> list[Item]:
    """The objects of a *listing* that nft wrote as JSON."""
    return msgspec.json.decode(listing, type=_Listing).nftables


def chains_in(tables: Mapping[str, Sequence[Item]]) -> dict[tuple[str, str], Chain]:
    """{(family, name): what is in the chain} of *tables*, each listed under its family."""
    found: dict[tuple[str, str], Chain] = {}
    for family, items in tables.items():
        for item in items:
            if item.chain:
                found[family, item.chain.name] = Chain((item.chain.hook, item.chain.prio, item.chain.policy))
        for item in items:
            if item.rule:
                found[family, item.rule.chain].rules.append(bytes(item.rule.expr))
    return found


def chains_in_text(ruleset: str) -> set[tuple[str, str]]:
    """{(family, name)} of the chains that the text declares."""
    family, found = "", set()
    for table, chain in re.findall(r"(?m)^(?:table (\w+) \w+ \{|\tchain (\w+) \{)", ruleset):
        family = table or family
        if chain:
            found.add((family, chain))
    return found
