"""What the book of grants tells the connection log."""

from typing import Protocol


class Journal(Protocol):
    """Told who comes and goes, for the connection log; must neither wait nor fail."""

    def began(self, device: str, address: str) -> None:
        """A grant of *device* begins; *address* is the one it spoke from, or ""."""

    def ended(self, device: str) -> None:
        """The grant of *device* ended."""


class NoJournal:
    """Nothing is written down."""

    def began(self, device: str, address: str) -> None:
        """Let it pass."""

    def ended(self, device: str) -> None:
        """Let it pass."""
