"""What the kernel remembers of a device: its addresses (neighbour table) and its flows (conntrack).

Plain netlink messages: one dump of 600 neighbours takes 1 ms here and 22 ms through pyroute2, whose
decoder is made for everything, and a busy venue has a hundred thousand flows to look through.
"""

import socket
import struct
from collections.abc import Collection

from captive.kernel.netlink import Netlink, attribute, attributes

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_DST, NDA_LLADDR, NDA_IFINDEX = 1, 2, 8
CTNETLINK = 1 << 8
CT_GET, CT_DELETE = CTNETLINK | 1, CTNETLINK | 2
CTA_TUPLE_ORIG, CTA_ID = 1, 12
FLOWS_AT_ONCE = 64


def addresses_of(macs: Collection[str], interface: str) -> set[bytes]:
    """The IPv4 and IPv6 addresses, packed, behind which *interface* has seen one of *macs*."""
    try:
        index = socket.if_nametoindex(interface)
    except OSError:
        return set()
    wanted = {bytes.fromhex(mac.replace(":", "")) for mac in macs}
    question = struct.pack("=BxxxiHBB", socket.AF_UNSPEC, index, 0, 0, 0) + attribute(
        NDA_IFINDEX, struct.pack("=I", index)
    )
    found = set()
    with Netlink(NETLINK_ROUTE) as netlink:
        for body in netlink.dump(RTM_GETNEIGH, question):
            known = dict(attributes(body, 12))
            if known.get(NDA_LLADDR) in wanted and NDA_DST in known:
                found.add(known[NDA_DST])
    return found


def forget_flows(addresses: Collection[bytes]) -> int:
    """Delete the flows that *addresses* (packed) began.

    Replies are the other half of the same entry, so nothing of them remains in either direction. Returns
    how many went. Raises `OSError` when the kernel refuses.
    """
    if not addresses:
        return 0
    with Netlink(NETLINK_NETFILTER) as netlink:
        # Picked here, not by the kernel: its filter by IPv6 address picks all others instead (seen with 6.18).
        flows = [
            flow for flow in netlink.dump(CT_GET, _family(socket.AF_UNSPEC)) if _source(flow) in addresses
        ]
        for start in range(0, len(flows), FLOWS_AT_ONCE):
            netlink.change(CT_DELETE, [_same_flow(flow) for flow in flows[start : start + FLOWS_AT_ONCE]])
    return len(flows)


def _family(family: int) -> bytes:
    return struct.pack("=BBH", family, 0, 0)


def _source(flow: bytes) -> bytes:
    """Who began *flow*: the kernel always puts the original tuple first, its source address first in it."""
    return flow[16:20] if flow[0] == socket.AF_INET else flow[16:32]


def _same_flow(flow: bytes) -> bytes:
    """The message body that names exactly *flow* (its number guards against one that came since)."""
    known = dict(attributes(flow, 4))
    return (
        _family(flow[0])
        + attribute(CTA_TUPLE_ORIG, known[CTA_TUPLE_ORIG], nested=True)
        + attribute(CTA_ID, known[CTA_ID])
    )
