"""One MAC at two places: a phone that roams moves once, a copied MAC moves to and fro.

A place is a port of a network. The bridge tells of each move between its own ports; between networks the
frames themselves do.
"""

from collections import OrderedDict
from typing import NamedTuple

FOLLOWED = 4_096
"""MACs whose place is remembered, the latest."""
APART = 1.0
"""Seconds between two moves that count: what is read late of a single move is not taken for two."""
MOVES, WITHIN = 6, 20.0
"""So many moves within so many seconds: a phone between two radios may go there and back, but hardly three times
in twenty seconds."""


class Place(NamedTuple):
    """Where a frame came in."""

    network: str
    port: str


class _Path:
    """Where a MAC was last, and when it moved."""

    __slots__ = ("moves", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.moves: list[float] = []


class Whereabouts:
    """Follows MACs from place to place, at most `FOLLOWED` of them."""

    def __init__(self) -> None:
        self._paths: OrderedDict[bytes, _Path] = OrderedDict()

    def see(self, mac: bytes, place: Place, now: float) -> Place | None:
        """*mac* is at *place*; the other place when it is at two, None otherwise."""
        path = self._paths.get(mac)
        if path is None:
            self._paths[mac] = _Path(place)
            if len(self._paths) > FOLLOWED:
                self._paths.popitem(last=False)
            return None
        self._paths.move_to_end(mac)
        if path.place == place or (path.moves and now - path.moves[-1] < APART):
            return None
        before, path.place = path.place, place
        path.moves = [*(at for at in path.moves if at > now - WITHIN), now]
        return before if len(path.moves) >= MOVES else None
