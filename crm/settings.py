"""Settings: every key with its type and its default; and the secrets, from files or the environment.

The only module that reads the environment. ``wificrm.example.toml`` and the README list the same keys; a
test holds the three together. `crm.settings_file` reads and checks the file.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from crm.errors import SetupError

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
InterfaceName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,15}$")]
NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,11}$")]
MacAddress = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Amount = Annotated[int, msgspec.Meta(ge=0, le=10**7)]
HostName = Annotated[
    str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?(\.|$))*$", max_length=228)
]
"""A DHCP option holds 255 octets; the portal's is ``https://``, this, and ``/captive-portal/api``."""
DEMO_NAMES = {
    "vi": "Trung tâm Phục vụ hành chính công phường Bến Đò",
    "en": "Bến Đò Ward Public Administrative Service Centre",
}
DEFAULT_PATH = Path(os.environ.get("WIFICRM_CONFIG", "/etc/wificrm/wificrm.toml"))


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the settings file."""


class Venue(Section, frozen=True):
    """The centre this gateway stands in."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_\-]{1,32}$")] = "DEMO-P01"
    names: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEMO_NAMES))
    languages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("vi", "en")
    accent: Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-fA-F]{6}$")] = "#0b5cad"
    questionnaire: str = "nhanh"
    timezone: str = "Asia/Ho_Chi_Minh"
    phone: str = ""


class Uplink(Section, frozen=True):
    """The way to the Internet, for all networks."""

    interface: InterfaceName = "eth0"
    dns: tuple[str, ...] = ()
    masquerade: bool = True
    clocks: tuple[str, ...] = ("time.android.com", "time.apple.com", "time.windows.com")
    off_limits: tuple[str, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
    )


class Grant(Section, frozen=True):
    """On what terms a device is online: 0 and an empty list mean *no limit*."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=7 * 24 * 60)] = 240
    idle_minutes: Amount = 0
    up_mb: Amount = 0
    down_mb: Amount = 0
    total_mb: Amount = 0
    up_kbit: Amount = 0
    down_kbit: Amount = 0
    daily_minutes: Annotated[int, msgspec.Meta(ge=0, le=24 * 60)] = 0
    daily_mb: Amount = 0
    opening: tuple[str, ...] = ()
    extend_minutes: Annotated[int, msgspec.Meta(ge=0, le=24 * 60)] = 60
    extensions: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3


class Place(Section, frozen=True):
    """Where guests are served on the same terms: a network of this box, or a router elsewhere.

    ``grant`` is the box-wide policy with the keys that this place's own table overrides.
    """

    name: NetworkName = "guest"
    walled_garden: tuple[str, ...] = ()
    questionnaire: str = ""
    always: tuple[MacAddress, ...] = ()
    never: tuple[MacAddress, ...] = ()
    grant: Grant = Grant()


class Network(Place, frozen=True):
    """One network of guests on this box: an SSID, a VLAN or a desk."""

    interface: InterfaceName = "br-guest"
    address4: str = "192.168.50.1/24"
    address6: str = "fd50:7c3a:1::1/64"
    lease: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+[mh]$")] = "2h"
    identity: Literal["mac", "mac+ip"] = "mac"
    hostapd: tuple[str, ...] = ()

    @property
    def net4(self) -> ipaddress.IPv4Interface:
        """The gateway's IPv4 address and network on the guest side."""
        return ipaddress.IPv4Interface(self.address4)

    @property
    def net6(self) -> ipaddress.IPv6Interface | None:
        """The gateway's IPv6 address and network on the guest side; None: guests get no IPv6."""
        return ipaddress.IPv6Interface(self.address6) if self.address6 else None


class Router(Place, frozen=True, kw_only=True):
    """A thin router elsewhere, which connects to this portal and carries one network of guests."""

    name: NetworkName


class Portal(Section, frozen=True):
    """Where the guest portal listens and what it is called; ``router_port`` is for thin routers."""

    name: HostName = ""
    port: Port = 8080
    tls_port: Port = 8443
    router_port: Port = 8445
    certificate: str = ""
    key: str = ""


class Console(Section, frozen=True):
    """Where staff sign in; never reachable from the guest network."""

    address: str = "127.0.0.1"
    port: Port = 8081


class Gate(Section, frozen=True):
    """The small privileged process and the socket it listens on."""

    gateway: Literal["gate", "open"] = "gate"
    socket: str = "/run/wificrm-gate/gate.sock"
    group: str = "wificrm"


class StoreSection(Section, frozen=True):
    """Where the two stores are; they must not be the same database."""

    crm: str = "/var/lib/wificrm/crm.db"
    access: str = "/var/lib/wificrm/access.db"
    password_file: str = ""


class ConnectionLogSection(Section, frozen=True):
    """Whether and how it is kept which device had which address when; see docs/connection-log.md."""

    enabled: bool = False
    public_key: str = ""
    days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 365
    macs: Literal["hashed", "clear"] = "hashed"
    path: str = "/var/lib/wificrm/connections.db"

    @property
    def on(self) -> bool:
        """Whether connections are recorded; 0 days keep nothing, so nothing is written."""
        return self.enabled and self.days > 0


class Metrics(Section, frozen=True):
    """Where figures for Prometheus, health and readiness are told; port 0: nowhere."""

    address: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8082


class Watch(Section, frozen=True):
    """Whom `wificrm watch` tells of what it sees, and how often of the same."""

    webhook: str = ""
    repeat_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 60


class Backup(Section, frozen=True):
    """Where backups are kept that are made by themselves, and how many."""

    folder: str = "/var/lib/wificrm/backups"
    keep: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 7


class Log(Section, frozen=True):
    """How much is told to the journal, and in what form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section, frozen=True):
    """The whole settings file."""

    venue: Venue = Venue()
    uplink: Uplink = Uplink()
    grant: Grant = Grant()
    networks: Annotated[tuple[Network, ...], msgspec.Meta(max_length=16)] = msgspec.field(
        default=(Network(),), name="network"
    )
    routers: Annotated[tuple[Router, ...], msgspec.Meta(max_length=256)] = msgspec.field(
        default=(), name="router"
    )
    portal: Portal = Portal()
    console: Console = Console()
    gate: Gate = Gate()
    store: StoreSection = StoreSection()
    connection_log: ConnectionLogSection = ConnectionLogSection()
    metrics: Metrics = Metrics()
    watch: Watch = Watch()
    backup: Backup = Backup()
    log: Log = Log()
    state: str = "/run/wificrm"
    secrets: str = "/var/lib/wificrm/secrets"

    @property
    def places(self) -> tuple[Place, ...]:
        """Where guests are served: the networks of this box, then the routers elsewhere."""
        return (*self.networks, *self.routers)

    @property
    def own_address(self) -> str:
        """An address of this box at which its own portal answers."""
        return (
            "127.0.0.1" if self.gate.gateway == "open" or not self.networks else str(self.networks[0].net4.ip)
        )

    @property
    def tls(self) -> bool:
        """Whether the portal has a name and a certificate, so that RFC 8908 can be offered."""
        return bool(self.portal.name and self.portal.certificate and self.portal.key)


def given_secret(name: str) -> str:
    """The secret called *name* from the environment (``WIFICRM_<NAME>``); "" when it is not there."""
    return os.environ.get(f"WIFICRM_{name.upper()}", "")


def secret(settings: Settings, name: str) -> bytes:
    """The secret called *name*: ``WIFICRM_<NAME>``, or a file in ``secrets`` made on first use (0600).

    32 random bytes when it is ours to make. Raises `SetupError` when the folder cannot be written.
    """
    given = given_secret(name)
    if given:
        return given.encode()
    path = Path(settings.secrets) / name
    try:
        if not (path.exists() and path.stat().st_size):  # what the power left empty is no secret
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = path.with_name(f".{name}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path}: the secret cannot be kept there: {error.strerror}") from None
