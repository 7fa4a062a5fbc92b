"""What a soak must not leave behind, and the table of what it did."""

from collections import Counter
from collections.abc import Iterator

from tests.soak.soak import Outcome, Stock, left_over

MEGABYTE = 1 << 20
MEMORY = 2 * MEGABYTE
"""Bytes by which a process may grow in 10,000 joins; pages come and go by the hundred kilobyte."""
SLACK = MEGABYTE
OBJECTS = 0.1
"""Objects that a join may add: one kept for every tenth would be a leak."""
MORE_OR_LESS = 250
"""Objects that come and go with caches."""
DEAD = 2_000
"""Weak references to what is gone: each SQLite connection of Python's keeps those of its last 200 cursors."""
BOUNDED = {
    "KernelNeighbours.devices": "as many as the kernel's own neighbour table, which its thresholds bound",
    "Marks.kept": "a cache of 20,000 at most, emptied at midnight",
    "noted response": "the keys of the last two days' answers, in memory; see crm.key_order",
    "noted asked": "as above, until the store is next written to after midnight",
    "noted grant": "as above",
    "noted usage": "as above",
}
"""Books that are not empty after midnight, and what bounds them."""


def breaches(outcome: Outcome, *, rest: float) -> list[str]:
    """A sentence for everything that is not as it should be; *rest* as in `tests.soak.soak.Soak`."""
    first, last = outcome.stocks[0], outcome.last
    if last is None:
        return ["the soak did not come to its end"]
    told = [f"{n} x {what}" for what, n in Counter(outcome.failures).most_common(10)]
    told += [f"at the end of a round: {difference}" for difference in outcome.differences]
    told += [f"in a log: {line}" for line in outcome.logs]
    told += [*_grown(outcome.stocks), *_books(first, last), *_processes(first, last)]
    told += [*_kernel(last, rest), *_files(first, last)]
    return told


def _grown(stocks: list[Stock]) -> Iterator[str]:
    """Compared from the middle on, when caches are warm and processes no longer restarted."""
    middle, end = stocks[len(stocks) // 2], stocks[-1]
    joins = end.joins - middle.joins
    for name in ("portal", "gate"):
        before, after = getattr(middle, name), getattr(end, name)
        grown = after["rss"] - before["rss"]
        if grown > SLACK + MEMORY * joins / 10_000:
            yield f"the {name} grew by {grown >> 10} KiB in {joins} joins"
        more = after["objects"] - before["objects"]
        if more > MORE_OR_LESS + OBJECTS * joins:
            yield f"the {name} holds {more} objects more after {joins} joins"
        if after["dead references"] > DEAD:
            yield f"the {name} holds {after['dead references']} references to what is gone"


def _books(first: Stock, last: Stock) -> Iterator[str]:
    for name, size in last.portal["books"].items():
        if size > first.portal["books"].get(name, 0) and name not in BOUNDED:
            yield f"{size} left in {name}"
    known = last.portal["books"]["KernelNeighbours.devices"]
    if known > last.neighbours + 50:
        yield f"the portal knows {known} neighbours, the kernel {last.neighbours}"


def _processes(first: Stock, last: Stock) -> Iterator[str]:
    for name, spare in (("portal", 6), ("gate", 2)):
        before, after = getattr(first, name), getattr(last, name)
        for what in ("descriptors", "threads", "tasks"):
            if after.get(what, 0) > before.get(what, 0) + spare:
                yield f"the {name} has {after[what]} {what}, {before[what]} before anybody came"


def _kernel(last: Stock, rest: float) -> Iterator[str]:
    for name, size in left_over(last, rest).items():
        yield f"{size} elements left in {name}"
    living = [flow for flow in last.flows if "ESTABLISHED" in flow and "tcp" in flow]
    # An address that another device took over before its lease ended keeps the flows of the first.
    if living:
        yield f"{len(living)} flows of devices that are not online"
    if rest >= 120 and last.flows:
        yield f"{len(last.flows)} flows left after {rest} s"
    open_ = {state: n for state, n in last.sockets.items() if state not in ("LISTEN", "TIME-WAIT")}
    if rest >= 120 and open_:
        yield f"sockets left: {open_}"


def _files(first: Stock, last: Stock) -> Iterator[str]:
    for name, size in last.files.items():
        if name.endswith("-wal") and size:
            yield f"{name} holds {size} bytes at rest"
        if name not in first.files:
            yield f"{name} is new"
    if last.files["data/access.db"] > MEGABYTE:
        yield f"the access store has {last.files['data/access.db']} bytes"
    for table, rows in last.rows.items():
        if rows > first.rows[table]:
            yield f"{rows} rows left in {table}"


def table(outcome: Outcome) -> str:
    """The figures, a line per stock, in Markdown."""
    heads = (
        "joins", "portal MiB", "gate MiB", "objects", "dead references", "descriptors", "threads", "tasks",
        "in sets", "flows", "access store", "crm store",
    )  # fmt: skip
    rows = [heads, tuple("---" for _ in heads)]
    for stock in [*outcome.stocks, *([outcome.last] if outcome.last else [])]:
        both = (stock.portal, stock.gate)
        rows.append(
            (
                f"{stock.joins:,}",
                *(f"{each['rss'] / MEGABYTE:.1f}" for each in both),
                *(
                    " + ".join(str(each[name]) for each in both)
                    for name in ("objects", "dead references", "descriptors", "threads")
                ),
                str(stock.portal["tasks"]),
                str(sum(stock.elements.values())),
                str(len(stock.flows)),
                f"{stock.files['data/access.db'] >> 10} KiB",
                f"{stock.files['data/crm.db'] >> 10} KiB",
            )
        )
    done = ", ".join(f"{what} {n:,}" for what, n in sorted(outcome.done.items()))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    pace = outcome.joins / outcome.seconds
    last = outcome.last
    left = {name: n for name, n in last.portal["books"].items() if n} if last else {}
    return "\n".join(
        [
            *lines,
            "",
            f"{outcome.joins:,} joins in {outcome.seconds:.0f} s ({pace:.0f}/s, rounds to their end); {done}",
            f"most online at once when compared: {outcome.most_online}",
            f"in memory at the end: {', '.join(f'{name} {n}' for name, n in left.items())}",
        ]
    )
