"""Errors that a person can mend, told as a message key and its values."""

from typing import Any


class UserError(Exception):
    """What the person in front of us did cannot be taken; they can do something about it.

    *message* is an English sentence and at the same time the key under which the catalogues hold its
    translation; *values* fill its ``{placeholders}`` after translation. *status* is the HTTP status.
    """

    def __init__(self, message: str, status: int = 400, **values: Any) -> None:  # noqa: ANN401
        super().__init__(message.format(**values) if values else message)
        self.message = message
        self.status = status
        self.values = values


class SetupError(Exception):
    """The box is not set up so that this can work; the sentence says what to do next."""
