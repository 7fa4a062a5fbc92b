"""A phone: one namespace with its own MAC on the guest bridge, a real DHCP client and a real resolver."""

import ipaddress
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from scapy.layers.dhcp6 import DUID_LL, DHCP6_InfoRequest, DHCP6_Reply, DHCP6OptClientId, DHCP6OptOptReq
from scapy.layers.inet6 import ICMPv6ND_RA

from tests.lab import dhcp
from tests.lab.client import Client
from tests.lab.namespace import Namespace, Run, stop

WIFI = "wlan0"
SOLICITATION, ROUTER_ADVERTISEMENT = b"\x85" + bytes(7), 134
SCRIPT = Path(__file__).with_name("udhcpc.sh")


class Phone(Client):
    """A device on the guest network. It keeps its MAC for life, as phones do on one SSID."""

    def __init__(self, run: Run, gateway: Namespace, bridge: str, number: int, authority: Path) -> None:
        mac = f"02:1a:b0:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        super().__init__(mac, ssl.create_default_context(cafile=authority))
        self.namespace = Namespace(run, f"p{number}")
        self.lease: dict[str, str] = {}
        self._lease_file = run.folder / f"lease-{number}"
        self._log = run.folder / f"phone-{number}.log"
        self._dhcp: subprocess.Popen[bytes] | None = None
        port = f"port{number}"
        self.namespace.ip(
            f"link add {WIFI} address {self.mac} type veth peer name {port} netns {gateway.name}",
        )
        gateway.ip(f"link set {port} master {bridge}", f"link set {port} up")
        self.namespace.sysctl(
            {
                f"net.ipv6.conf.{WIFI}.accept_dad": 0,
                f"net.ipv6.conf.{WIFI}.accept_ra": 1,
                f"net.ipv6.conf.{WIFI}.router_solicitation_delay": 0,
                f"net.ipv6.conf.{WIFI}.router_solicitation_interval": 1,
                "net.ipv4.ping_group_range": "0 0",
            }
        )

    # -- on and off the Wi-Fi ---------------------------------------------------------------------

    def join(self, *, ipv6: bool = True, request: Sequence[int] = (114,), timeout: float = 60) -> None:
        """Associate, get a lease with udhcpc and, when *ipv6*, an address by SLAAC.

        *request* are the option codes asked for beside the usual ones. Raises TimeoutError.
        """
        self._lease_file.unlink(missing_ok=True)
        self.namespace.ip(f"link set {WIFI} up")
        asked = [word for code in request for word in ("-O", str(code))]
        clean = ["env", "-i", f"PATH={os.environ['PATH']}", f"LEASE={self._lease_file}"]
        client = ["udhcpc", "-f", "-i", WIFI, "-s", str(SCRIPT), "-t", "10", "-T", "1"]
        self._dhcp = self.namespace.start(*clean, *client, *asked, log=self._log)
        until = time.monotonic() + timeout
        while not self._lease_file.exists() or (ipv6 and not self.address6):
            if time.monotonic() > until:
                what = "IPv6 address" if self._lease_file.exists() else "DHCP lease"
                raise TimeoutError(f"no {what} within {timeout} s: {self._log.read_text()[-500:]}")
            time.sleep(0.02)
        lines = self._lease_file.read_text().splitlines()
        self.lease = dict(line.split("=", 1) for line in lines if "=" in line)
        self.resolver = self.lease["dns"].split()[0]

    def leave(self) -> None:
        """Go away without a word, as phones do."""
        if self._dhcp is not None:
            stop(self._dhcp, kill=True)
            self._dhcp = None
        self.namespace.ip(f"link set {WIFI} down")
        self.namespace.ip(f"address flush dev {WIFI}")
        self.lease = {}

    def ask_dhcp(self, *, request: Sequence[int] = ()) -> dict[int, bytes]:
        """One DHCP exchange by hand with exactly this parameter request list: the options of the ACK."""
        self.namespace.ip(f"link set {WIFI} up")
        with self.namespace.entered():
            sock = dhcp.packet_socket(WIFI)
        with sock:
            return dhcp.exchange(sock, self.mac, request=request)

    def ask_dhcp6(self, *codes: int) -> DHCP6_Reply:
        """The answer to an information request (RFC 8415 section 18.2.6) for the options *codes*."""
        question = DHCP6_InfoRequest(trid=0xABCDEF) / DHCP6OptClientId(duid=DUID_LL(lladdr=self.mac))
        question /= DHCP6OptOptReq(reqopts=list(codes))
        with self.open_socket("ff02::1:2", socket.SOCK_DGRAM) as sock:
            sock.settimeout(30)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, WIFI.encode())
            sock.bind(("::", 546))
            sock.sendto(bytes(question), ("ff02::1:2", 547))
            return DHCP6_Reply(sock.recv(2048))

    def ask_router(self, timeout: float = 30) -> ICMPv6ND_RA:
        """The answer to a router solicitation (RFC 4861), or what is told to all at that moment.

        Raises TimeoutError.
        """
        with self.namespace.open_socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            sock.settimeout(timeout)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, WIFI.encode())
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            sock.sendto(SOLICITATION, ("ff02::2", 0))
            while (message := sock.recv(2048))[0] != ROUTER_ADVERTISEMENT:
                pass
        return ICMPv6ND_RA(message)

    @property
    def address4(self) -> str:
        """The leased IPv4 address."""
        return self.lease["ip"]

    @property
    def address6(self) -> str:
        """The first address that is not link-local; empty before SLAAC is done."""
        with self.namespace.entered():
            lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        for line in lines:
            digits, _, _, scope, _, name = line.split()
            if name == WIFI and scope == "00":
                return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
        return ""

    @property
    def router4(self) -> str:
        """The gateway that DHCP named."""
        return self.lease["router"].split()[0]

    @property
    def api(self) -> str:
        """The URI that option 114 named; empty without one."""
        return bytes.fromhex(self.lease.get("opt114", "")).decode()

    def make_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        """A socket in the phone's namespace."""
        return self.namespace.open_socket(family, kind, protocol)

    def close(self) -> None:
        """Switch it off for good."""
        if self._dhcp is not None:
            stop(self._dhcp, kill=True)
        self.namespace.close()
