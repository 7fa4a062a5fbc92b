"""What phones and computers ask before a person does, and what the real Internet answers them.

Hosts, paths and answers are those that the clients' own sources name: AOSP NetworkStack, ChromeOS shill,
Chromium, Firefox, NetworkManager, Apple's Captive Network Assistant, Microsoft NCSI, Kindle and the
Chinese builds of Android.
"""

from typing import NamedTuple


class Probe(NamedTuple):
    """One question, and the answer that says "you are on the Internet"."""

    client: str
    url: str
    status: int = 204
    body: str = ""


APPLE = "<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"
FIREFOX = '<meta http-equiv="refresh" content="0;url=https://support.mozilla.org/kb/captive-portal"/>'

PROBES = (
    Probe("apple", "http://captive.apple.com/hotspot-detect.html", 200, APPLE),
    Probe("apple, older", "http://www.apple.com/library/test/success.html", 200, APPLE),
    Probe("apple, older", "http://www.appleiphonecell.com/", 200, APPLE),
    Probe("apple, older", "http://www.airport.us/", 200, APPLE),
    Probe("apple, older", "http://www.ibook.info/", 200, APPLE),
    Probe("apple, older", "http://www.itools.info/", 200, APPLE),
    Probe("apple, older", "http://www.thinkdifferent.us/", 200, APPLE),
    Probe("macos", "http://netcts.cdn-apple.com/", 200, APPLE),
    Probe("android", "http://connectivitycheck.gstatic.com/generate_204"),
    Probe("android", "http://www.google.com/gen_204"),
    Probe("android", "http://play.googleapis.com/generate_204"),
    Probe("android, older", "http://connectivitycheck.android.com/generate_204"),
    Probe("chrome", "http://www.gstatic.com/generate_204"),
    Probe("firefox", "http://detectportal.firefox.com/canonical.html", 200, FIREFOX),
    Probe("firefox", "http://detectportal.firefox.com/success.txt", 200, "success\n"),
    Probe("networkmanager, ubuntu", "http://connectivity-check.ubuntu.com/"),
    Probe("networkmanager, fedora", "http://fedoraproject.org/static/hotspot.txt", 200, "OK\n"),
    Probe("networkmanager, debian", "http://network-test.debian.org/nm", 200, "NetworkManager is online\n"),
    Probe(
        "networkmanager, gnome",
        "http://nmcheck.gnome.org/check_network_status.txt",
        200,
        "NetworkManager is online\n",
    ),
    Probe("windows", "http://www.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"),
    Probe("windows", "http://ipv6.msftconnecttest.com/connecttest.txt", 200, "Microsoft Connect Test"),
    Probe("windows, older", "http://www.msftncsi.com/ncsi.txt", 200, "Microsoft NCSI"),
    Probe("windows", "http://www.msftconnecttest.com/redirect", 302),
    Probe(
        "fire os",
        "http://spectrum.s3.amazonaws.com/kindle-wifi/wifistub.html",
        200,
        "81ce4465-7167-4dcb-835b-dcc9e44c112a",
    ),
    Probe("xiaomi", "http://connect.rom.miui.com/generate_204"),
    Probe("huawei", "http://connectivitycheck.platform.hicloud.com/generate_204"),
    Probe("huawei", "http://connectivitycheck.cbg-app.huawei.com/generate_204"),
    Probe("honor", "http://connectivitycheck.platform.hihonorcloud.com/generate_204"),
    Probe("oppo", "http://conn1.oppomobile.com/generate_204"),
    Probe("oppo", "http://conn2.oppomobile.com/generate_204"),
    Probe("android, china", "http://www.google.cn/generate_204"),
    Probe("android, china", "http://developers.google.cn/generate_204"),
    Probe("vivo", "http://wifi.vivo.com.cn/generate_204"),
    Probe("samsung", "http://d2uzsrnmmf6tds.cloudfront.net/generate_204"),
)

HTTPS_PROBES = ("https://www.google.com/generate_204", "https://connectivitycheck.gstatic.com/generate_204")
