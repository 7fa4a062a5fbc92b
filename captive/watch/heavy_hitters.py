"""Who sends most, in memory that does not grow with the number of senders (Misra and Gries, 1982)."""


class HeavyHitters:
    """Counts by key, at most *room* keys at a time.

    A count is never too high. It is too low by at most the sum of all divided by *room* + 1, so whoever sends
    more than that share is among the keys, however many others there are.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._counts: dict[bytes, int] = {}
        self.total = 0

    def add(self, key: bytes) -> None:
        """One more of *key*."""
        self.total += 1
        if key in self._counts:
            self._counts[key] += 1
        elif len(self._counts) < self._room:
            self._counts[key] = 1
        else:  # paid for by the counts that it takes away: constant on average
            self._counts = {each: count - 1 for each, count in self._counts.items() if count > 1}

    def top(self) -> tuple[bytes, int]:
        """The key with most, and its count; (b"", 0) when there is none."""
        return max(self._counts.items(), key=lambda item: item[1], default=(b"", 0))
