"""The settings whose rendered texts stand in golden/. After a change that is meant, write them anew:

python -m tests.captive.golden_cases
"""

from pathlib import Path

from captive.box.dnsmasq import render_dnsmasq
from captive.certificate import Verdict, offered_api
from captive.kernel.ruleset import render_ruleset
from crm.settings import Settings
from crm.settings_file import parse_settings

GOLDEN = Path(__file__).parent / "golden"
_TLS = '[portal]\nname = "portal.example.vn"\ncertificate = "/etc/wificrm/tls.crt"\nkey = "/etc/wificrm/tls.key"\n'
REVOCATION = ("ocsp.example.org", "crl.example.org")
CASES = {
    "both-families": "",
    "ipv4-only": '[network]\naddress6 = ""\n[uplink]\nmasquerade = false\noff_limits = []\n',
    "tls": _TLS,
    "garden": (
        '[uplink]\ninterface = "ppp0"\ndns = ["9.9.9.9", "2620:fe::fe"]\n'
        '[network]\ninterface = "wlan0.20"\naddress4 = "10.20.0.254/24"\n'
        'address6 = "2001:db8:77::1/64"\nlease = "30m"\n'
        'walled_garden = ["dichvucong.gov.vn", "ocsp.example.org"]\n' + _TLS
    ),
    "three-networks": (
        "[grant]\nminutes = 120\nup_kbit = 4000\ndown_kbit = 20000\n"
        '[[network]]\nname = "hall"\ninterface = "br-hall"\nwalled_garden = ["dichvucong.gov.vn"]\n'
        '[[network]]\nname = "desks"\ninterface = "br-guest.20"\naddress4 = "192.168.51.1/24"\n'
        'address6 = "fd50:7c3a:2::1/64"\nalways = ["02:00:00:00:00:aa", "02:00:00:00:00:ab"]\n'
        "grant = { up_kbit = 0, down_kbit = 0, down_mb = 500, total_mb = 600 }\n"
        '[[network]]\nname = "yard"\ninterface = "br-yard"\naddress4 = "192.168.52.1/24"\n'
        'address6 = ""\nidentity = "mac+ip"\n'
    ),
}


def settings_of(case: str) -> Settings:
    return parse_settings(CASES[case])


def dnsmasq_of(case: str) -> str:
    """The text while the certificate, if there is one, is good."""
    settings = settings_of(case)
    verdict = Verdict("", hosts=REVOCATION) if settings.tls else Verdict("none is set")
    return render_dnsmasq(settings, api=offered_api(settings, verdict), revocation=verdict.hosts)


def rendered(case: str) -> dict[str, str]:
    """{file name in golden/: its text}."""
    return {f"{case}.nft": render_ruleset(settings_of(case)), f"{case}.dnsmasq.conf": dnsmasq_of(case)}


if __name__ == "__main__":
    for each in CASES:
        for name, text in rendered(each).items():
            (GOLDEN / name).write_text(text)
