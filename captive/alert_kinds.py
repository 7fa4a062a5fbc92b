"""The kinds of alerts of the watch, under the names that the metrics use."""

from enum import StrEnum


class AlertKind(StrEnum):
    """What is told."""

    ROGUE_DHCP = "rogue_dhcp"
    ROGUE_RA = "rogue_ra"
    SPOOFED_GATEWAY = "spoofed_gateway"
    CLONED_MAC = "cloned_mac"
    FLOOD = "flood"
