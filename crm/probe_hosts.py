"""The hosts that operating systems ask by themselves to find out whether there is a portal."""

PROBE_HOSTS = frozenset(
    {
        "captive.apple.com",
        "www.apple.com",
        "apple.com",
        "www.appleiphonecell.com",
        "www.airport.us",
        "www.ibook.info",
        "www.itools.info",
        "www.thinkdifferent.us",
        "netcts.cdn-apple.com",
        "connectivitycheck.gstatic.com",
        "www.gstatic.com",
        "connectivitycheck.android.com",
        "clients3.google.com",
        "play.googleapis.com",
        "detectportal.firefox.com",
        "connectivity-check.ubuntu.com",
        "fedoraproject.org",
        "network-test.debian.org",
        "nmcheck.gnome.org",
        "www.msftconnecttest.com",
        "ipv6.msftconnecttest.com",
        "www.msftncsi.com",
        "spectrum.s3.amazonaws.com",
        "connect.rom.miui.com",
        "connectivitycheck.platform.hicloud.com",
        "connectivitycheck.cbg-app.huawei.com",
        "connectivitycheck.platform.hihonorcloud.com",
        "conn1.oppomobile.com",
        "conn2.oppomobile.com",
        "wifi.vivo.com.cn",
        "d2uzsrnmmf6tds.cloudfront.net",
    }
)
"""Hosts that operating systems ask by themselves (read in the clients' sources; never complete)."""


def garden_would_hide_portal(name: str) -> str:
    """A probe host that is *name* or below it; "" when opening *name* to everybody hides the portal from nobody.

    A phone whose probe gets through believes that it is online and shows no portal.
    """
    return next((host for host in sorted(PROBE_HOSTS) if f".{host}".endswith(f".{name}")), "")
