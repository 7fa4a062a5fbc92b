"""What the console asks of the report process; without its writers, which the portal's memory must not hold."""

from datetime import date

import msgspec

FORMATS = ("csv", "xlsx", "json")
"""What a report can be written as."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the portal's process asks for; on standard input, so that no password shows in a list of processes."""

    dsn: str
    venues: tuple[str, ...]
    first: date
    last: date
    format: str
    path: str
