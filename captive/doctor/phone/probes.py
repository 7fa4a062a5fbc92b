"""What phones and computers ask by themselves, as whom, and what the Internet answers when nothing is in between.

Read in the clients' own sources. A few of each are enough: the portal answers by port, never by a list of hosts.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

_CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/60.0.3112.32 Safari/537.36"
)
_CHROMEOS = (
    "Mozilla/5.0 (X11; CrOS x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
)
_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
_APPLE = "CaptiveNetworkSupport-443.120.2 wispr"
_WINDOWS = "Microsoft NCSI"
_SUCCESS = "<BODY>Success</BODY>"


class Probe(NamedTuple):
    """One question of a *client*'s; *status* and a piece of the *body* say that it is online."""

    client: str
    agent: str
    url: str
    status: int = 204
    body: str = ""

    @property
    def host(self) -> str:
        """The host asked."""
        return urlsplit(self.url).hostname or ""

    def is_online(self, status: int, body: str) -> bool:
        """Whether the answer is the Internet's own."""
        return status == self.status and self.body in body


PROBES = (
    Probe("Apple", _APPLE, "http://captive.apple.com/hotspot-detect.html", 200, _SUCCESS),
    Probe("Apple", _APPLE, "http://www.apple.com/library/test/success.html", 200, _SUCCESS),
    Probe("Apple", _APPLE, "http://netcts.cdn-apple.com/", 200, _SUCCESS),
    Probe("Android", _CHROME, "http://connectivitycheck.gstatic.com/generate_204"),
    Probe("Android", _CHROME, "http://play.googleapis.com/generate_204"),
    Probe("Android", _CHROME, "http://connectivitycheck.android.com/generate_204"),
    Probe("ChromeOS", _CHROMEOS, "http://www.gstatic.com/generate_204"),
    Probe("Firefox", _FIREFOX, "http://detectportal.firefox.com/canonical.html", 200, "captive-portal"),
    Probe("Firefox", _FIREFOX, "http://detectportal.firefox.com/success.txt", 200, "success"),
    Probe("Linux", "", "http://connectivity-check.ubuntu.com/"),
    Probe("Linux", "", "http://fedoraproject.org/static/hotspot.txt", 200, "OK"),
    Probe("Linux", "", "http://network-test.debian.org/nm", 200, "NetworkManager is online"),
    Probe("Linux", "", "http://nmcheck.gnome.org/check_network_status.txt", 200, "NetworkManager is online"),
    Probe(
        "Windows", _WINDOWS, "http://www.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"
    ),
    Probe("Windows", _WINDOWS, "http://www.msftncsi.com/ncsi.txt", 200, "Microsoft NCSI"),
    Probe(
        "Fire OS",
        _CHROME,
        "http://spectrum.s3.amazonaws.com/kindle-wifi/wifistub.html",
        200,
        "81ce4465-7167-4dcb-835b-dcc9e44c112a",
    ),
    Probe("Xiaomi", _CHROME, "http://connect.rom.miui.com/generate_204"),
    Probe("Huawei", _CHROME, "http://connectivitycheck.platform.hicloud.com/generate_204"),
    Probe("Honor", _CHROME, "http://connectivitycheck.platform.hihonorcloud.com/generate_204"),
    Probe("OPPO", _CHROME, "http://conn1.oppomobile.com/generate_204"),
    Probe("vivo", _CHROME, "http://wifi.vivo.com.cn/generate_204"),
    Probe("Samsung", _CHROME, "http://connectivitycheck.gstatic.com/generate_204"),
    Probe("Samsung", _CHROME, "http://d2uzsrnmmf6tds.cloudfront.net/generate_204"),
)

HTTPS_PROBE = "https://www.google.com/generate_204"
"""What Android asks beside; before the grant it must be refused, after it answered with 204."""
CLIENTS = tuple(dict.fromkeys(probe.client for probe in PROBES))
HOSTS = tuple(dict.fromkeys(probe.host for probe in PROBES))
WINDOWS_NAME, WINDOWS_ANSWERS = "dns.msftncsi.com", ("131.107.255.255", "fd3e:4f5a:5b81::1")
"""A name whose address Windows knows: another answer means to it that there is no network."""
LOCAL_NAME = "use-application-dns.net"
"""Answered by our resolver itself, with NXDOMAIN, so that browsers leave names to the network."""
