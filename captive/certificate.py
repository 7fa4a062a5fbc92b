"""The portal's TLS certificate, judged as a phone judges it, and read again when its files change.

Phones ignore an API behind a bad certificate and show no sheet on an https page they do not trust, so
whoever offers either asks here first. The judgement is a TLS handshake with ourselves in memory: what
OpenSSL says of chain, name and time is what a phone would say.
"""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from crm.probe_hosts import garden_would_hide_portal
from crm.settings import Settings

log = structlog.get_logger()

API_PATH = "/captive-portal/api"
WARN_DAYS = 21
"""Days before a certificate ends at which somebody should look why it was not renewed."""
LOOK_AGAIN = 3600.0
"""Seconds after which a judgement is made anew without any sign of change."""
MAX_HOSTS = 8
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, to read a certificate whatever its dates are."""
_NOT_YET, _EXPIRED, _SELF_SIGNED, _OTHER_NAME = 9, 10, 18, 62
_UNKNOWN_AUTHORITY = (19, 20, 21)
"""X509_V_ERR_*: verification errors, by OpenSSL's numbers."""
_DAY = 86_400
_HOST = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}")


class Verdict(msgspec.Struct, frozen=True):
    """What a phone would make of the certificate."""

    fault: str
    """Why it would not take it, as half a sentence; "" when it would."""
    begins: float = 0
    ends: float = 0
    """From when until when it holds, in seconds since 1970; 0 when it cannot be read."""
    public: bool = False
    """Whether an authority of this system's store vouches for it; else the phones' owner must know it."""
    hosts: tuple[str, ...] = ()
    """Where phones ask over plain HTTP whether its chain was revoked (OCSP, CRL)."""

    def days(self, now: float) -> int:
        """Whole days left at *now*; negative when it has ended."""
        return int((self.ends - now) // _DAY)


def judge(settings: Settings) -> Verdict:
    """What a phone would say of the files as they are now."""
    portal = settings.portal
    if not settings.tls:
        return Verdict("none is set")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for path in (portal.certificate, portal.key):
            Path(path).open("rb").close()
        server.load_cert_chain(portal.certificate, portal.key, password=lambda: "")
        chain = [
            ssl.PEM_cert_to_DER_cert(text)
            for text in re.findall(
                r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----",
                Path(portal.certificate).read_text("ascii", "replace"),
                re.DOTALL,
            )
        ]
    except ssl.SSLError as error:
        return Verdict(f"{portal.certificate} and {portal.key} do not make a pair ({_short(error)})")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Verdict(f"{getattr(error, 'filename', None) or portal.certificate}: {reason}")
    return _judge_chain(server, chain, portal.name)


def judge_served(settings: Settings) -> Verdict:
    """As `judge`; a running portal that cannot show the pair (its user may not read the key) counts too."""
    verdict = judge(settings)
    if verdict.fault or _is_served(settings) is not False:
        return verdict
    fault = f"the portal does not serve it; may the portal's user read {settings.portal.key}?"
    return msgspec.structs.replace(verdict, fault=fault)


def offered_api(settings: Settings, verdict: Verdict) -> str:
    """The URI of the API (RFC 8908) that phones are told of; "" while they would not trust it."""
    return "" if verdict.fault else f"https://{settings.portal.name}{API_PATH}"


class Certificate:
    """The pair that the portal serves: `context` for its listener, `verdict` for whoever offers https."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.sni_callback = self._meet
        self.verdict = Verdict("not looked at yet")
        self._seen: tuple[int, ...] = ()
        self._since = self._until = 0.0
        self._told: tuple[str, int] = ("", 0)
        self.refresh()

    @property
    def valid(self) -> bool:
        """Whether phones take it, so that they may be sent to https."""
        return not self.verdict.fault

    def refresh(self) -> None:
        """Judge anew when the files or the clock have changed; tell the log what changed, and what ends soon."""
        now, seen = time.time(), self._stamps()
        if seen != self._seen or not self._since <= now < self._until:
            self._seen, self._since = seen, now
            self.verdict = judge(self._settings)
            edges = (self.verdict.begins, self.verdict.ends, now + LOOK_AGAIN)
            self._until = min(edge for edge in edges if edge > now)
            portal = self._settings.portal
            with contextlib.suppress(ssl.SSLError, OSError, ValueError):
                # The listener's own context last, and only with a pair: it keeps the one it has.
                if self.verdict.ends:
                    self.context.load_cert_chain(portal.certificate, portal.key, password=lambda: "")
        self._tell(now)

    def _meet(self, _side: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        """Refuse every handshake while the files make no pair: what was read before is not theirs any more."""
        return None if self.verdict.ends else ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    def _tell(self, now: float) -> None:
        """A line when it turns good or bad, and one a day while somebody should do something."""
        if not self._settings.tls:
            return
        soon = self.valid and self.verdict.days(now) < WARN_DAYS
        state = self.verdict.fault or ("soon" if soon else "good")
        day = int(now // _DAY) if state != "good" else 0
        if (state, day) == self._told:
            return
        self._told = (state, day)
        if self.verdict.fault:
            log.error("without a good certificate the portal is plain http", reason=self.verdict.fault)
        elif soon:
            log.warning("the certificate ends soon", days=self.verdict.days(now))
        else:
            log.info("the certificate is good", days=self.verdict.days(now))

    def _stamps(self) -> tuple[int, ...]:
        """What changes when a file is written, replaced, removed, or its permissions are."""
        stamps: list[int] = []
        for file in (self._settings.portal.certificate, self._settings.portal.key):
            try:
                found = Path(file).stat()
                stamps += [found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            except OSError as error:
                stamps.append(error.errno or 0)
        return tuple(stamps)


def _judge_chain(server: ssl.SSLContext, chain: list[bytes], name: str) -> Verdict:
    reader = _client(chain)
    reader.check_hostname = False
    reader.verify_flags = ssl.VerifyFlags(reader.verify_flags | _NO_CHECK_TIME)
    try:
        found = _shake_hands(server, reader, name)
    except ssl.SSLError as error:
        return Verdict(_explain(error, {}, name))
    begins, ends = (float(ssl.cert_time_to_seconds(found[key])) for key in ("notBefore", "notAfter"))
    hosts = tuple(dict.fromkeys(_revocation_hosts([found, *reader.get_ca_certs()])))[:MAX_HOSTS]
    refusal = _refusal(server, ssl.create_default_context(), name)
    public = refusal is None
    if isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code in _UNKNOWN_AUTHORITY:
        # An authority of the ministry's or a test's own: the phones it is meant for know it.
        refusal = _refusal(server, _client(chain[1:] or chain), name)
    return Verdict(_explain(refusal, found, name) if refusal else "", begins, ends, public, hosts)


def _refusal(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLError | None:
    try:
        _shake_hands(server, client, name)
    except ssl.SSLError as error:
        return error
    return None


def _client(anchors: list[bytes]) -> ssl.SSLContext:
    """A phone that trusts exactly *anchors*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(anchors))
    return context


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any]:
    """A whole handshake in memory: the certificate as the client read it. Raises `ssl.SSLError`."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    phone = client.wrap_bio(down, up, server_hostname=name)
    portal = server.wrap_bio(up, down, server_side=True)
    for side in (phone, portal, phone, portal):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return phone.getpeercert() or {}


def _explain(error: ssl.SSLError, found: Mapping[str, Any], name: str) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _short(error)
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return _explain_time(found)
    if error.verify_code == _OTHER_NAME:
        names = ", ".join(value for _, value in found.get("subjectAltName", ())) or "no name"
        return f"made for {names}, not for {name}"
    if error.verify_code == _SELF_SIGNED:
        return "signed by itself: no phone trusts it"
    return error.verify_message


def _explain_time(found: Mapping[str, Any]) -> str:
    """Whose time it is that is over, or not come: the certificate's own, or that of an authority above it."""
    begins, ends = (ssl.cert_time_to_seconds(found[key]) for key in ("notBefore", "notAfter"))
    now = time.time()
    if now > ends:
        return f"expired on {_date(found['notAfter'])}; renew it"
    if now < begins:
        return f"not valid before {_date(found['notBefore'])}; is the clock right?"
    return "an authority in its chain has expired, or is not valid yet: put the chain that came with it into the file"


def _date(text: str) -> str:
    return f"{datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC):%Y-%m-%d}"


def _revocation_hosts(certificates: list[Mapping[str, Any]]) -> Iterator[str]:
    for each in certificates:
        for url in (*each.get("OCSP", ()), *each.get("crlDistributionPoints", ())):
            with contextlib.suppress(ValueError):
                parts = urlsplit(url)
                host = (parts.hostname or "").lower()
                if parts.scheme != "http" or parts.port not in (None, 80) or not _HOST.fullmatch(host):
                    continue
                if not garden_would_hide_portal(host):
                    yield host


def _is_served(settings: Settings) -> bool | None:
    """Whether the portal shakes hands over TLS; None when nobody listens or the answer is slow to come."""
    anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    address = settings.own_address, settings.portal.tls_port
    try:
        with socket.create_connection(address, timeout=2) as connection:
            try:
                anything.wrap_socket(connection, server_hostname=settings.portal.name).close()
            except (ssl.SSLError, ConnectionError):
                return False
            return True
    except OSError:
        return None


def _short(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
