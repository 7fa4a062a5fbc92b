"""The internet of the lab: one namespace with its own names, web servers and echo on every port.

Ports 5201 to 5220 are left to iperf3 (`tests.lab.traffic`).
"""

import ipaddress
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tests.lab.certificates import Authority
from tests.lab.namespace import Namespace, Run, stop
from tests.lab.probes import HTTPS_PROBES, PROBES

ROUTER4, ROUTER6 = "203.0.113.1", "2001:db8:1::1"
VENUE4, VENUE6 = "203.0.113.2", "2001:db8:1::2"
"""The uplink: the internet's end, and the gateway's."""

RESOLVER4, RESOLVER6 = "198.51.100.53", "2001:db8:53::53"
"""The provider's resolver: what the gateway is told to ask."""

STRAY4, STRAY6 = "8.8.8.8", "2001:4860:4860::8888"
"""A public resolver that phones ask by themselves. It gives another answer for `STRAY_NAME`, which tells them apart."""

STRAY_NAME = "which-resolver.example"
PROVIDER_ANSWER, STRAY_ANSWER = "198.51.100.201", "198.51.100.202"

TUNNEL_ZONE, TUNNEL_SERVER = "tunnel.example", "198.51.100.54"
"""A zone of somebody who sells DNS tunnels, and where its server may be started."""

LARGE_NAME = "large.example"
"""It has a TXT record of about 970 bytes."""

CDN4 = tuple(f"198.51.100.{n}" for n in range(210, 222))
CDN6 = tuple(f"2001:db8:cd::{n}" for n in range(1, 9))
"""The addresses at the end of the aliases of ``www.garden.example``."""

EXTRA_NAMES = (
    "neverssl.example",
    "odd.example",
    "garden.example",
    "other-garden.example",
    "go.microsoft.com",
    "use-application-dns.net",
    "ntp.example",
)

_FIREWALL = """
table inet lab {
  counter leaked {}
  set seen4 { type inet_proto . ipv4_addr . inet_service; flags dynamic; size 65535; }
  set seen6 { type inet_proto . ipv6_addr . inet_service; flags dynamic; size 65535; }
  chain count {
    type filter hook prerouting priority raw;
    iifname != "venue" return
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert,
                  mld-listener-report, mld2-listener-report, mld-listener-query } return
    ip daddr RESOLVER4 th dport 53 return
    ip6 daddr RESOLVER6 th dport 53 return
    counter name leaked
    meta l4proto { tcp, udp } add @seen4 { meta l4proto . ip daddr . th dport }
    meta l4proto { tcp, udp } add @seen6 { meta l4proto . ip6 daddr . th dport }
  }
  chain everything_echoes {
    type nat hook prerouting priority dstnat;
    iifname "venue" th dport 5201-5220 accept
    iifname "venue" tcp dport != { 7, 53, 80, 443 } redirect to :7
    iifname "venue" udp dport != { 7, 53 } redirect to :7
  }
}
"""


class Seen(msgspec.Struct):
    """One HTTP request that reached the internet."""

    host: str
    path: str
    tls: bool
    source: str = msgspec.field(name="from")


class Internet:
    """Give it a run and an authority; `start` it, wire the gateway's uplink to `uplink_peer`, `close` it."""

    def __init__(
        self, run: Run, authority: Authority, *, names: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        """*names* {host: (IPv4, IPv6)} are of servers elsewhere in the lab, which the resolvers know too."""
        self._elsewhere = names or {}
        self.folder = run.folder / "internet"
        self.folder.mkdir()
        self.namespace = Namespace(run, "net")
        self.addresses = _give_addresses()
        locals4 = {
            RESOLVER4,
            STRAY4,
            PROVIDER_ANSWER,
            STRAY_ANSWER,
            TUNNEL_SERVER,
            *CDN4,
            *(a for a, _ in self.addresses.values()),
        }
        locals6 = {RESOLVER6, STRAY6, *CDN6, *(a for _, a in self.addresses.values())}
        self.namespace.ip(
            *(f"address add {address}/32 dev lo" for address in sorted(locals4)),
            *(f"address add {address}/128 dev lo" for address in sorted(locals6)),
        )
        self._seen = self.folder / "seen.jsonl"
        self._certificate = authority.issue("internet", *self.addresses)
        self._processes = [self._start_resolver("provider"), self._start_resolver("stray")]
        firewall = _FIREWALL.replace("RESOLVER4", RESOLVER4).replace("RESOLVER6", RESOLVER6)
        self.namespace.run("nft", "-f", "-", text=firewall)
        self._processes.append(
            self.namespace.start(
                *(
                    sys.executable,
                    "-m",
                    "tests.lab.servers",
                    *self._certificate,
                    self._seen,
                    self.folder / "ready",
                ),
                log=self.folder / "servers.log",
            )
        )

    def wire(self, gateway: Namespace, uplink: str) -> None:
        """A cable between *gateway*'s interface *uplink* and this internet, with addresses and default routes."""
        here, there = self.namespace, gateway
        here.ip(f"link add venue type veth peer name {uplink} netns {there.name}")
        here.ip(
            f"address add {ROUTER4}/24 dev venue",
            f"address add {ROUTER6}/64 dev venue",
            "link set venue up",
        )
        there.ip(
            f"address add {VENUE4}/24 dev {uplink}",
            f"address add {VENUE6}/64 dev {uplink}",
            f"link set {uplink} up",
            f"route add default via {ROUTER4}",
            f"route add default via {ROUTER6}",
        )

    def wait(self, timeout: float = 90) -> None:
        """Return when every server listens."""
        until = time.monotonic() + timeout
        while not (self.folder / "ready").exists():
            if time.monotonic() > until or any(process.poll() is not None for process in self._processes):
                raise RuntimeError(
                    f"the internet does not start: {(self.folder / 'servers.log').read_text()}"
                )
            time.sleep(0.02)

    def seen(self) -> list[Seen]:
        """The HTTP requests that reached the internet so far."""
        return msgspec.json.Decoder(Seen).decode_lines(self._seen.read_bytes()) if self._seen.exists() else []

    def forget(self) -> None:
        """Count leaks anew."""
        self.namespace.run(
            "nft", "-f", "-", text="reset counters\nflush set inet lab seen4\nflush set inet lab seen6\n"
        )

    def leaked(self) -> tuple[int, list[str]]:
        """Packets from the venue since `forget`, other than the resolver's own questions; and where they went."""
        listing = msgspec.json.decode(self.namespace.run("nft", "-j", "list", "table", "inet", "lab"))[
            "nftables"
        ]
        packets = next(item["counter"]["packets"] for item in listing if "counter" in item)
        targets = [
            " ".join(map(str, element["concat"]))
            for item in listing
            if "set" in item
            for element in item["set"].get("elem", ())
        ]
        return packets, sorted(targets)

    def close(self) -> None:
        """End every server and the namespace."""
        for process in self._processes:
            stop(process, kill=True)
        self.namespace.close()

    def _start_resolver(self, label: str) -> subprocess.Popen[bytes]:
        listen = (RESOLVER4, RESOLVER6) if label == "provider" else (STRAY4, STRAY6)
        lines = [
            "no-resolv",
            "no-hosts",
            "bind-dynamic",
            "local=/#/",
            "keep-in-foreground",
            "user=root",
            "local-ttl=300",
        ]
        lines += [f"listen-address={address}" for address in listen]
        lines += [f"host-record={name},{v4},{v6}" for name, (v4, v6) in self.addresses.items()]
        lines += [f"host-record={name},{v4},{v6}" for name, (v4, v6) in self._elsewhere.items()]
        lines += [f"host-record=edge.cdn.example,{address}" for address in (*CDN4, *CDN6)]
        lines += ["cname=www.garden.example,alias.cdn.example", "cname=alias.cdn.example,edge.cdn.example"]
        lines += [f"host-record=four.garden.example,{CDN4[0]}", f"host-record=six.garden.example,{CDN6[0]}"]
        lines.append(f"txt-record={LARGE_NAME}," + ",".join(["x" * 240] * 4))
        lines.append(f"server=/{TUNNEL_ZONE}/{TUNNEL_SERVER}")
        lines.append("host-record=dns.msftncsi.com,131.107.255.255,fd3e:4f5a:5b81::1")
        lines.append(f"host-record={STRAY_NAME},{PROVIDER_ANSWER if label == 'provider' else STRAY_ANSWER}")
        path = self.folder / f"{label}.conf"
        path.write_text("\n".join(lines) + "\n")
        log = self.folder / f"{label}.log"
        return self.namespace.start("dnsmasq", f"--conf-file={path}", "--pid-file=", log=log)


def _give_addresses() -> dict[str, tuple[str, str]]:
    """{host: (IPv4, IPv6)} for every name that a test asks for, each host its own."""
    hosts = [urlsplit(url).hostname or "" for url in (*(p.url for p in PROBES), *HTTPS_PROBES)]
    base4, base6 = ipaddress.IPv4Address("198.51.100.60"), ipaddress.IPv6Address("2001:db8:80::1")
    names = list(dict.fromkeys([*EXTRA_NAMES, *hosts]))
    return {name: (str(base4 + i), str(base6 + i)) for i, name in enumerate(names)}


def project() -> Path:
    """The top folder of this project: where its packages are imported from."""
    return Path(__file__).parents[2]
