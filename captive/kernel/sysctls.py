"""Kernel parameters that a gateway needs, named as their paths below /proc/sys."""

import os
from pathlib import Path

from crm.settings import Settings

HOME = Path("/proc/sys")
NEIGHBOURS = (4_096, 8_192, 16_384)
"""Neighbour entries kept before cleaning starts, cleaned hard, and at most.

A phone has one IPv4 and about three IPv6 addresses: the kernel's own limit of 1,024 is full at 340 phones.
"""
FLOWS_KNOWN, FLOWS_KEPT = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
FLOWS = 65_536
"""Connections that the kernel remembers, at least; full, that is some 25 MiB.

A phone has some fifty. With 1 GiB of memory the kernel's own limit is 8,192 (nf_conntrack_core.c): it is full at 160
phones, and then nobody opens anything.
"""


def wanted_sysctls(settings: Settings) -> dict[str, str]:
    """{name: value} as it should be here; what this kernel or network namespace does not have is left out."""
    wanted = {"net/ipv4/ip_forward": "1"}
    families = ["ipv4"]
    if any(network.net6 for network in settings.networks):
        families.append("ipv6")
        wanted["net/ipv6/conf/all/forwarding"] = "1"
        # A box that forwards takes no router advertisement on its uplink unless told so with 2.
        accept = f"net/ipv6/conf/{settings.uplink.interface}/accept_ra"
        if read_sysctl(accept) in ("1", "2"):
            wanted[accept] = "2"
    for family in families:
        for number, least in enumerate(NEIGHBOURS, 1):
            name = f"net/{family}/neigh/default/gc_thresh{number}"
            wanted[name] = str(max(least, int(read_sysctl(name) or 0)))
    if os.access(HOME / FLOWS_KEPT, os.W_OK):  # in a network namespace it is this machine's, to be read only
        wanted[FLOWS_KEPT] = str(max(FLOWS, int(read_sysctl(FLOWS_KEPT))))
    return {name: value for name, value in wanted.items() if (HOME / name).exists()}


def render_sysctls(settings: Settings) -> str:
    """The same as ``sysctl -p`` reads it."""
    return "".join(f"{name} = {value}\n" for name, value in wanted_sysctls(settings).items())


def unwritable_sysctls(settings: Settings) -> list[str]:
    """A sentence for each parameter that is not as it should be and cannot be set, as in many containers."""
    return [
        f"{name} is {read_sysctl(name)}, must be {value}, and cannot be set here: is this a container?"
        for name, value in wanted_sysctls(settings).items()
        if read_sysctl(name) != value and not os.access(HOME / name, os.W_OK)
    ]


def sysctl_problems(settings: Settings) -> list[str]:
    """A sentence for each parameter that somebody has set otherwise since."""
    return [
        f"{name} is {read_sysctl(name)}, must be {value}: wificrm gateway apply puts it right"
        for name, value in wanted_sysctls(settings).items()
        if read_sysctl(name) != value and os.access(HOME / name, os.W_OK)
    ]


def read_sysctl(name: str) -> str:
    """Its value now; empty when there is no such parameter."""
    try:
        return (HOME / name).read_text().strip()
    except OSError:
        return ""


def write_sysctl(name: str, value: str) -> None:
    """Set it, if it (still) exists: an interface may have gone."""
    if (HOME / name).exists():
        (HOME / name).write_text(value)
