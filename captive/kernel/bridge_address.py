"""A guests' bridge keeps its MAC address, whatever comes and goes on it.

A bridge that was given none takes the lowest of its ports', and changes it when a port comes or goes (a radio that
starts anew, an access point that is plugged in). Phones go on sending to the former address until they ask
again, which takes many seconds. Once an address was set, the kernel leaves it (net/bridge/br_stp_if.c).
"""

import contextlib
import socket
from collections.abc import Collection
from pathlib import Path

from captive.kernel.isolation import LINK
from captive.kernel.netlink import Netlink, attribute

RTM_SETLINK = 19
IFLA_ADDRESS = 1
NET_ADDR_SET = "3"
"""That somebody has set the address (``addr_assign_type``)."""
HOME = Path("/sys/class/net")


def keep_addresses(bridges: Collection[str]) -> None:
    """Let each of *bridges* keep the address that it has. What is no bridge has its own. Raises OSError."""
    for bridge in bridges:
        with contextlib.suppress(FileNotFoundError):  # not there, or no bridge
            (HOME / bridge / "bridge").stat()
            if (HOME / bridge / "addr_assign_type").read_text().strip() != NET_ADDR_SET:
                address = bytes.fromhex((HOME / bridge / "address").read_text().strip().replace(":", ""))
                link = LINK.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(bridge), 0, 0)
                with Netlink(socket.NETLINK_ROUTE) as netlink:
                    netlink.change(RTM_SETLINK, [link + attribute(IFLA_ADDRESS, address)])
