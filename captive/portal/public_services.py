"""The public services that guests reach without going online, as links. Rules only, no I/O."""

from collections.abc import Sequence

STATE = ".gov.vn"
"""Names below it belong to bodies of the State (vietnam.md; Decree 224/2026/ND-CP article 11 puts communes there)."""


def service_hosts(walled_garden: Sequence[str]) -> list[str]:
    """The hosts of *walled_garden* that are pages of the State, in its order.

    A pattern (``*.gov.vn``) names no page; others stand in a garden for pictures or scripts of some page.
    """
    return [host for host in walled_garden if host.endswith(STATE) and not host.startswith("*")]
