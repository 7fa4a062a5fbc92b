"""The thin router's scripts under busybox ash: HMAC, strangers' words, what `print` shows. The lab has the rest."""

import hashlib
import hmac
import ipaddress
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from captive.certificate import MAX_HOSTS
from captive.gateway import MOST_SECONDS, Terms
from captive.grants.policy import MOST_BEHIND_A_ROUTER
from captive.routers import wire
from captive.routers.link import SALT_LIFE
from captive.routers.session import PING_SECONDS, REPORT_SECONDS
from crm.network_checks import ROUTER_GARDEN
from crm.settings import Place
from tests.router_scripts.openwrt_router import Router as OpenWrt

SCRIPTS = Path(__file__).parents[2] / "router_scripts/thin"
GOLDEN = Path(__file__).parent / "golden"
BUSYBOX = shutil.which("busybox") or ""
pytestmark = pytest.mark.skipif(not BUSYBOX, reason="busybox is not installed: apt-get install busybox")

KEY = "0123456789abcdef" * 4
MAC, OTHER = "02:1a:b0:00:00:01", "02:1a:b0:00:00:02"
SESSION, SALT = "ab" * 16, "cd" * 32
CHALLENGE, NONCE = "0f-1-aa", "11" * 16
CONFIG = "config up_kbit=0 down_kbit=0 portal=wifi.example garden=a.example"
OPENING = (f"hello {SESSION}", CONFIG, f"salt {SALT}")
SETTINGS = f"name=hall2\nportal=wifi.example\nkey={KEY}\nuplink=wan\naddress6=fd50:7c3a:2::1/64\n"


def sign(key: bytes, text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return hmac.digest(key, data, hashlib.sha256).hex()


DOWN = sign(bytes.fromhex(KEY), f"down {CHALLENGE} {NONCE}").encode()


class Router:
    """A folder with settings, a memory, and an ``nft`` that writes down what it is asked."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        self.folder, self.memory, self.asked = folder, folder / "run", folder / "asked"
        self.memory.mkdir()
        (folder / "bin").mkdir()
        (folder / "settings").write_text(settings)
        self.program("nft", f'echo "nft $*" >>{self.asked}; [ "$*" != "-f -" ] || cat >>{self.asked}')
        for applet in (
            "sh",
            "awk",
            "sed",
            "tr",
            "head",
            "hexdump",
            "sha256sum",
            "cat",
            "grep",
            "sort",
            "cmp",
            "mv",
            "rm",
        ):
            (folder / "bin" / applet).symlink_to(BUSYBOX)
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "WIFICRM_LIBRARY": str(SCRIPTS),
            "WIFICRM_SETTINGS": str(folder / "settings"),
            "WIFICRM_RUN": str(self.memory),
            "WIFICRM_TABLE": "true",
            "WIFICRM_ETC": str(folder / "etc"),
        }

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BUSYBOX, "ash", *map(str, words)],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def shell(self, text: str) -> str:
        """What *text* prints with the agent's functions at hand."""
        done = self.run("-c", f'. "{SCRIPTS}/wificrm-agent"\n{text}', "agent")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def hear(self, stream: bytes) -> tuple[int, str]:
        """The last line of *stream* that the agent carried out, and what it asked of nft."""
        (self.folder / "stream").write_bytes(stream)
        (self.memory / "applied").write_text("0")
        self.asked.write_text("")
        self.shell(
            "come_alive() { live=1; }; look_up_once() { :; }; exec 4>/dev/null; live=0\n"
            f'hmac_key raw "$key"; own_in=$pad_in own_out=$pad_out; session_keys {CHALLENGE} {NONCE}\n'
            f'exec 3<"{self.folder}/stream"; listen'
        )
        return int((self.memory / "applied").read_text()), self.asked.read_text()


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router(tmp_path)


def line(number: int, text: str | bytes, key: bytes = DOWN) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return b"%d %b %b\n" % (number, sign(key, b"%d %b" % (number, data)).encode(), data)


def stream(*texts: str | bytes) -> bytes:
    return b"".join(line(number, text) for number, text in enumerate(texts, 1))


# -- HMAC ---------------------------------------------------------------------------------------------


def test_hmac_is_that_of_everybody_else(router: Router) -> None:
    chance = random.Random(4)
    cases: list[tuple[str, str, str]] = []
    for number in range(24):
        length = chance.choice((1, 20, 32, 63, 64)) if number else 64
        kind, key = (
            ("raw", chance.randbytes(length).hex()) if number % 2 else ("text", chance.randbytes(32).hex())
        )
        letters = "".join(map(chr, range(32, 127)))
        text = "".join(chance.choices(letters, k=chance.choice((0, 1, 55, 64, 65, 4000))))
        cases.append((kind, key, text))
    cases.append(("raw", "00" * 64, "%s%d\\n\\0"))
    script = "".join(
        f'hmac_key {kind} {key}; hmac "$pad_in" "$pad_out" \'{quoted(text)}\'; echo $mac_hex\n'
        for kind, key, text in cases
    )
    made = router.shell(script).split()
    assert made == [
        sign(bytes.fromhex(key) if kind == "raw" else key.encode(), text) for kind, key, text in cases
    ]


def quoted(text: str) -> str:
    return text.replace("'", "'\\''")


# -- what the portal says, or somebody who is not ----------------------------------------------------


def test_what_is_signed_and_next_is_carried_out(router: Router) -> None:
    orders = (f"allow {MAC} 14400 1 {OTHER} 60 0", "frobnicate 7 *", "ping", f"deny {OTHER}")
    applied, asked = router.hear(stream(*OPENING, *orders))
    assert applied == 7
    # Before Linux 6.12 an element that is there keeps its old end: it has to go first.
    gone = f"delete element inet wificrm allowed {{ {MAC},{OTHER} }}\n"
    assert f"{gone}add element inet wificrm allowed {{ {MAC} timeout 14400s,{OTHER} timeout 60s }}\n" in asked
    assert f"delete element inet wificrm up {{ {MAC} }}" in asked
    assert f"delete element inet wificrm allowed {{ {OTHER} }}" in asked
    told = (router.memory / "redirect").read_text().split()
    assert told[:3] == ["wifi.example", "hall2", SALT]
    assert (router.memory / "hosts.garden").read_text().split() == ["a.example"]


def test_who_is_shut_out_is_sent_off_every_radio_of_guests(router: Router) -> None:
    said = router.folder / "ubus"
    listing = "[ $1 != list ] || printf '%s\\n' hostapd.phy0-ap0 hostapd.phy0-ap1 hostapd.phy1-ap0"
    for bridge, port in (("br-guest", "phy0-ap0"), ("br-lan", "phy0-ap1"), ("br-guest", "phy1-ap0")):
        (router.folder / "net" / bridge / "brif" / port).mkdir(parents=True)
    router.environment["WIFICRM_NET"] = str(router.folder / "net")
    router.program("ubus", f'{listing}; [ $1 != call ] || printf "%s\\n" "$*" >>{said}; exit 0')
    router.hear(stream(*OPENING, f"deny {MAC} {OTHER}"))
    until = time.monotonic() + 20
    while (not said.exists() or len(said.read_text().splitlines()) < 4) and time.monotonic() < until:
        time.sleep(0.05)
    words = '{"addr":"%s","reason":1,"deauth":true,"ban_time":0}'
    assert said.read_text().splitlines() == [
        f"call hostapd.{radio} del_client {words % mac}"
        for radio in ("phy0-ap0", "phy1-ap0")
        for mac in (MAC, OTHER)
    ]


ALLOW = f"allow {MAC} 14400 0"
STRANGE: dict[str, bytes] = {
    "another key": line(4, ALLOW, key=b"x" * 64),
    "the key of reports": line(4, ALLOW, key=sign(bytes.fromhex(KEY), f"up {CHALLENGE} {NONCE}").encode()),
    "a number again": line(3, ALLOW),
    "a number left out": line(5, ALLOW),
    "a line again": line(3, f"salt {SALT}"),
    "a number with zeros": b"0" + line(4, ALLOW),
    "another text": line(4, ALLOW).replace(b"14400", b"24400"),
    "no signature": b"4 %b\n" % ALLOW.encode(),
    "a short signature": line(4, ALLOW).replace(b" ", b" 0", 1)[:-1] + b"\n",
    "a carriage return": line(4, ALLOW)[:-1] + b"\r\n",
    "an octet more": line(4, ALLOW).replace(b"allow", b"al\1low"),
    "nothing": b"\n",
    "too long": b"4 " + b"a" * 70_000 + b"\n",
    "a half": line(4, ALLOW)[:-9],
    "letters and signs": "4 ‮*$(reboot)`reboot`;reboot\n".encode(),
}


@pytest.mark.parametrize("name", STRANGE)
def test_the_stream_ends_at_what_is_not_next_and_signed(router: Router, name: str) -> None:
    applied, asked = router.hear(stream(*OPENING) + STRANGE[name] + line(4, ALLOW))
    assert (applied, MAC in asked) == (3, False)


def many(count: int) -> Iterable[str]:
    return (f"02:00:00:00:{number // 256:02x}:{number % 256:02x}" for number in range(count))


NONSENSE: Sequence[str | bytes] = (
    "allow",
    "deny",
    f"allow {MAC}",
    f"allow {MAC} 60 0 {OTHER}",
    f"allow {MAC} 60 2",
    f"allow {MAC} 0 1",
    f"allow {MAC} -1 1",
    f"allow {MAC} 060 1",
    f"allow {MAC} 60s 1",
    f"allow {MAC} 99999999999999999999 1",
    f"allow {MAC.upper()} 60 1",
    "allow 01:00:5e:00:00:01 60 1",
    "allow ff:ff:ff:ff:ff:ff 60 1",
    "allow 00:00:00:00:00:00 60 1",
    "allow 02:1a:b0:00:00:1 60 1",
    "allow 02:1:ab0:00:00:01 60 1",
    "allow 02::::00:00:00:01 60 1",
    "allow 02:1a:b0:00:00:0: 60 1",
    "allow * 60 1",
    "allow $(reboot) 60 1",
    f"allow {MAC},{OTHER} 60 1",
    f"allow {MAC}}};flush 60 1",
    f"deny {MAC} }};",
    "deny ../../etc/passwd",
    "deny @allowed",
    "allow " + " ".join(f"{mac} 60 0" for mac in many(201)),
    "deny " + " ".join(many(201)),
    "config up_kbit=1",
    "config up_kbit=x down_kbit=0 portal=wifi.example garden=",
    "config up_kbit=99999999999 down_kbit=0 portal=wifi.example garden=",
    "config up_kbit=0 down_kbit=0 portal=wifi.example/../ garden=",
    "config up_kbit=0 down_kbit=0 portal=$(reboot) garden=",
    "config up_kbit=0 down_kbit=0 portal=-wifi.example garden=",
    "config up_kbit=0 down_kbit=0 portal=wifi.example garden=`reboot`",
    "config up_kbit=0 down_kbit=0 portal=wifi.example garden=a.example,..",
    "config up_kbit=0 down_kbit=0 portal=wifi.example garden=" + ",".join(f"a{n}.example" for n in range(65)),
    "salt x",
    f"salt {SALT}0",
    f"salt {SALT.upper()}",
    b"deny \xff\xfe",
)


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_a_hostile_portal_says_nothing_that_reaches_nft(router: Router, text: str | bytes) -> None:
    assert router.hear(stream(*OPENING))[0] == 3
    assert router.hear(stream(*OPENING, text, ALLOW)) == (3, "")


def test_nobody_is_let_in_before_the_portal_has_proved_itself(router: Router) -> None:
    assert router.hear(stream(ALLOW)) == (0, "")
    assert router.hear(stream(f"salt {SALT}")) == (0, "")
    assert router.hear(stream(f"hello {SESSION}", f"salt {SALT}"))[0] == 1
    assert router.hear(stream(f"hello {SESSION[1:]}")) == (0, "")


def test_a_challenge_without_end_fills_no_memory(router: Router) -> None:
    router.program("uclient-fetch", "yes ! | head -c 1000000")
    told = router.shell('url=https://wifi.example:8445/router/v1; session; cat "$RUN/state"')
    assert "the portal cannot be reached" in told
    assert (router.memory / "challenge").stat().st_size <= 4096


def test_router_and_portal_keep_to_the_same_bounds() -> None:
    texts = "\n".join(
        (SCRIPTS / name).read_text() for name in ("wificrm-agent", "report.sh", "wificrm-redirect")
    )
    of_router = {name: int(number) for name, number in re.findall(r"^([A-Z_]+)=(\d+)", texts, re.MULTILINE)}
    assert PING_SECONDS < of_router["SILENCE"] < 2 * PING_SECONDS
    assert of_router["BEAT"] < REPORT_SECONDS / 2
    assert of_router["LONGEST_LEASE"] >= MOST_SECONDS
    assert of_router["OLDEST_SALT"] == SALT_LIFE
    assert of_router["MOST_LEASES"] == MOST_BEHIND_A_ROUTER
    assert of_router["MOST_PRESENT"] <= wire.MAX_PRESENT
    lease = f"lease {MAC} {MOST_SECONDS} {10**12 - 1} {10**12 - 1}\n"  # more than all of them can have
    report = MOST_BEHIND_A_ROUTER * len(lease) + of_router["MOST_PRESENT"] * len(f"present {MAC}\n")
    assert report < wire.MAX_REPORT
    longest = next(wire.order_texts(dict.fromkeys(many(wire.MAX_AT_ONCE), Terms(MOST_SECONDS))))[0]
    hosts = tuple(f"{number:0228}" for number in range(ROUTER_GARDEN + MAX_HOSTS))
    garden = wire.config_text(Place(walled_garden=hosts), hosts[0])
    assert max(len(longest), len(garden)) + 100 < of_router["LONGEST_LINE"]


def test_what_nft_refuses_is_said_without_the_device(router: Router) -> None:
    """nft repeats the line that it refuses."""
    table = "[ \"$*\" != 'list tables' ] || echo table inet wificrm"
    router.program("nft", f'{table}; [ "$*" != "-f -" ] || {{ cat >&2; exit 1; }}')
    script = f'for order in "allow {MAC} 60 1" "deny {MAC}"; do $order && echo done; done; true'
    done = router.run("-c", f'. "{SCRIPTS}/wificrm-agent"\n{script}', "agent")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("nft refuses what the portal said") == 2
    assert MAC not in done.stderr


def test_who_is_let_in_is_so_although_the_counts_have_no_room(router: Router) -> None:
    """One device under ever new MACs fills the set of counts; its elements last a day."""
    table = "[ \"$*\" != 'list tables' ] || echo table inet wificrm"
    router.program(
        "nft", f'{table}; [ "$*" != "-f -" ] || {{ cat >{router.asked}; ! grep -q " up " {router.asked}; }}'
    )
    router.shell(f"allow {MAC} 60 1")
    assert f"add element inet wificrm allowed {{ {MAC} timeout 60s }}" in router.asked.read_text()


def test_an_order_at_the_moment_of_a_flush_is_carried_out(router: Router) -> None:
    router.program("nft", f'[ "$*" != "-f -" ] || {{ cat >{router.asked}; [ -e {router.folder}/there ]; }}')
    router.program("put-up", f"touch {router.folder}/there")
    router.environment["WIFICRM_TABLE"] = "put-up"
    router.shell(f"look_up_once() {{ :; }}; allow {MAC} 60 1")
    assert (router.memory / "anew").exists(), "the next report tells the portal who is missing"


def test_names_of_the_garden_that_nobody_answers_for_do_not_keep_the_portal_shut(router: Router) -> None:
    """After a start phones are sent to the portal at once; each dead name takes the resolver's five seconds."""
    router.program("nft", f"cat >>{router.asked}")
    router.program(
        "nslookup",
        f"echo asked for $1 >>{router.asked}; [ $1 != wifi.example ] || printf 'Name: %s\\nAddress: 192.0.2.9\\n' $1",
    )
    (router.memory / "hosts.portal").write_text("wifi.example\n")
    (router.memory / "hosts.garden").write_text("dead.example\n")
    router.shell("look_up_once")
    said = router.asked.read_text()
    assert said.index("portal4 { 192.0.2.9 }") < said.index("asked for dead.example")


def test_memory_that_was_full_for_a_moment_keeps_no_table_away(router: Router) -> None:
    (router.memory / "rates").write_text("")
    done = router.run(SCRIPTS / "wificrm-table", "print")
    assert (done.returncode, "rate_up_" in done.stdout, "chain upstream" in done.stdout) == (0, False, True)
    assert router.hear(stream(*OPENING))[0] == 3
    assert (router.memory / "rates").read_text() == "0 0\n"


def test_a_table_put_up_while_the_portal_comes_back_is_shut(router: Router) -> None:
    (router.memory / "open").touch()
    router.program("nft", f'[ "$*" != "-f -" ] || cat >>{router.asked}; rm -f {router.memory}/open')
    assert router.run(SCRIPTS / "wificrm-table", "apply").returncode == 0
    said = router.asked.read_text()
    assert said.index("\t\taccept\n") < said.index("flush chain inet wificrm away\n")


def test_openwrts_firewall_lets_guests_to_the_table_only_while_it_stands(router: Router) -> None:
    """And the bridge that was ours before is no more than its own zone lets it be."""
    router.program("nft", f'[ "$*" != "-f -" ] || cat >>{router.asked}')
    shut = "\nflush set inet fw4 wificrm_guests\n"
    opened = f'{shut}add element inet fw4 wificrm_guests {{ "br-guest" }}\n'
    words = {
        "apply": ("\nflush table inet wificrm\n", opened),
        "remove": (shut, "\ndelete table inet wificrm\n"),
    }
    for verb, first_and_last in words.items():
        router.asked.write_text("\n")
        assert router.run(SCRIPTS / "wificrm-table", verb).returncode == 0
        first, last = map(router.asked.read_text().index, first_and_last)
        assert first < last
    included = (SCRIPTS / "wificrm-thin.firewall").read_text().splitlines()
    assert [line for line in included if line[0] != "#"] == ["/usr/sbin/wificrm-table apply"]


def test_debians_busybox_needs_nothing_on_the_path(router: Router) -> None:
    """Its shell does not know its own applets, and hexdump and nslookup are further packages there."""
    (router.folder / "bin/hexdump").unlink()
    (router.folder / "bin/busybox").symlink_to(BUSYBOX)
    router.environment["PATH"] = str(router.folder / "bin")
    assert len(router.shell("random_hex 16").strip()) == 32
    assert router.shell("type nslookup").startswith("nslookup is a function")


# -- what guests say --------------------------------------------------------------------------------


def redirect(router: Router, **environment: str) -> tuple[str, dict[str, str], str]:
    """(status, headers, body) that the redirect gives to a guest at 192.168.60.20."""
    neighbour = f"[ \"$4\" != 192.168.60.20 ] || echo '192.168.60.20 lladdr {MAC} REACHABLE'"
    router.program("ip", f'echo "$@" >>{router.folder}/neighbours; {neighbour}')
    given = {"REMOTE_ADDR": "192.168.60.20", "SERVER_ADDR": "192.168.60.1", "REQUEST_URI": "/", **environment}
    done = router.run(SCRIPTS / "wificrm-redirect", **given)
    assert (done.returncode, done.stderr) == (0, "")
    head, _, body = done.stdout.partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    assert headers["Cache-Control"] == "no-store"
    return headers["Status"], headers, body


def publish(router: Router, since: int = 0) -> None:
    now = int(float(Path("/proc/uptime").read_text().split()[0]))
    (router.memory / "redirect").write_text(f"wifi.example hall2 {SALT} {now - since} br-guest\n")


def way(wanted: bytes = b"", mac: str = MAC) -> str:
    page = wanted.hex()
    signature = sign(SALT.encode(), f"enter hall2 {mac} {page}")
    return f"https://wifi.example/enter?r=hall2&d={mac}&u={page}&s={signature}"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("neverssl.example", "/"),
        ("a.example:8080", "/a/b?c=d&e=%20"),
        ("$(reboot)`reboot`;\"'\\", "/*?[a-z]%s%n\\0"),
        ("x", "/" + "y" * 1022),
        ("ề.example", "/ạ"),
    ],
)
def test_the_wanted_page_is_encoded_whatever_it_is(router: Router, host: str, path: str) -> None:
    publish(router)
    status, headers, body = redirect(router, HTTP_HOST=host, REQUEST_URI=path, HTTP_ACCEPT="text/html,*/*")
    assert (status, headers["Location"]) == ("302 Found", way((host + path).encode()))
    assert len(body) < 100


def test_probes_and_what_is_too_long_want_no_page(router: Router) -> None:
    publish(router)
    assert redirect(router, HTTP_HOST="a.example")[1]["Location"] == way()
    assert redirect(router, HTTP_HOST="a.example", HTTP_ACCEPT="*/*")[1]["Location"] == way()
    long = redirect(router, HTTP_HOST="x", REQUEST_URI="/" + "y" * 1024, HTTP_ACCEPT="text/html")
    assert long[1]["Location"] == way()


@pytest.mark.parametrize("address", ["192.168.60.21", "", "$(reboot)", "192.168.60.20 dev lo", "::1", "*"])
def test_who_is_not_on_the_guests_network_gets_no_signature(router: Router, address: str) -> None:
    publish(router)
    location = redirect(router, REMOTE_ADDR=address)[1]["Location"]
    assert location == "http://192.168.60.1/wificrm-away"
    (router.folder / "neighbours").touch()
    words = [line.split() for line in (router.folder / "neighbours").read_text().splitlines()]
    assert all(each[:3] == ["neigh", "show", "to"] and each[4:] == ["dev", "br-guest"] for each in words)


def test_an_old_secret_signs_nothing(router: Router) -> None:
    publish(router, since=600)
    assert redirect(router)[1]["Location"] == way()
    publish(router, since=700)
    assert redirect(router)[1]["Location"] == "http://192.168.60.1/wificrm-away"


def test_while_the_portal_is_away_the_router_says_so(router: Router) -> None:
    assert redirect(router)[1]["Location"] == "http://192.168.60.1/wificrm-away"
    assert redirect(router, SERVER_ADDR="fd50::1")[1]["Location"] == "http://[fd50::1]/wificrm-away"
    status, headers, page = redirect(router, REQUEST_URI="/wificrm-away")
    assert (status, headers["Content-Type"]) == ("200 OK", "text/html; charset=utf-8")
    assert 'lang="vi"' in page
    assert 'lang="en"' in page
    assert "http" not in page.replace('http-equiv="refresh"', "")


# -- what print shows, and what settings are worth ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words", "rates", "more"),
    [
        ("thin-table", ("wificrm-table", "print"), "", ""),
        ("thin-table-rates", ("wificrm-table", "print"), "512 20000", "uplink=\naddress6=\n"),
        ("thin-files", ("wificrm-thin-setup", "print"), "", ""),
        ("thin-dnsmasq", ("wificrm-thin-setup", "print", "dnsmasq"), "", "address6=\ninterface=br-hall\n"),
    ],
)
def test_print(router: Router, name: str, words: tuple[str, ...], rates: str, more: str) -> None:
    (router.folder / "settings").write_text(SETTINGS + more)
    if rates:
        (router.memory / "rates").write_text(rates + "\n")
    done = router.run(SCRIPTS / words[0], *words[1:])
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.replace(str(router.folder), "ROOT").replace(str(SCRIPTS), "/usr/lib/wificrm")
    assert text == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("address4", ["10.8.5.1/22", "172.20.0.1/16", "192.168.60.129/27", "10.255.255.1/8"])
def test_phones_get_addresses_of_the_whole_network(router: Router, address4: str) -> None:
    (router.folder / "settings").write_text(f"{SETTINGS}address4={address4}\naddress6=\n")
    text = router.run(SCRIPTS / "wificrm-thin-setup", "print", "dnsmasq").stdout
    network = ipaddress.ip_interface(address4).network
    first, last = network.network_address + 10, network.broadcast_address - 6
    assert f"\ndhcp-range={first},{last},{network.netmask},2h\n" in text


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ("name=Hall 2", "name is"),
        ("portal=https://wifi.example", "portal is"),
        ("port=99999", "port is"),
        ("key=abc", "key must be"),
        ("ca=/nowhere.pem", "ca is"),
        ('interface=br"; flush ruleset', "interface is"),
        ("uplink=a b", "uplink is"),
        ("away=perhaps", "away is"),
        ("off_limits=10.0.0.0/8 everything", "off_limits has 'everything'"),
        ("address4=192.168.60.1", "address4 is"),
        ("address4=192.168.60.1/28", "address4 is"),
        ("address4=192.168.60.256/24", "address4 is"),
        ("address4=192.168.60/24", "address4 is"),
        ("address4=fd50:7c3a:60::1/24", "address4 is"),
        ("resolver=one.one.one.one", "resolver is"),
        ("guest_port=lan2 lan3", "guest_port is"),
        ("ssid=WiFi miễn phí của phường Bến Đò", "ssid is longer than 32 bytes"),
    ],
)
def test_settings_that_cannot_be_are_told_in_a_sentence(router: Router, more: str, word: str) -> None:
    (router.folder / "settings").write_text(f"{SETTINGS}{more}\n")
    for script, verb in (
        ("wificrm-agent", "run"),
        ("wificrm-table", "print"),
        ("wificrm-thin-setup", "print"),
    ):
        done = router.run(SCRIPTS / script, verb)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(word)
        assert "Error" not in done.stderr


def test_settings_that_were_saved_on_windows_are_read(router: Router) -> None:
    plain = router.run(SCRIPTS / "wificrm-table", "print")
    (router.folder / "settings").write_text(f"# x\n\n{SETTINGS}".replace("\n", "\r\n"))
    done = router.run(SCRIPTS / "wificrm-table", "print")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", plain.stdout)


def test_with_settings_that_cannot_be_guests_are_shut_out(router: Router) -> None:
    """A mistake and a power cut: after the start there would be no table, and nobody who decides."""
    (router.folder / "settings").write_text(f"{SETTINGS}away=opened\ninterface=br-hall\n")
    router.environment["WIFICRM_TABLE"] = str(SCRIPTS / "wificrm-table")
    router.program("nft", f'[ "$*" = "-f -" ] && cat >>{router.asked}')
    for script, verb in (("wificrm-table", "apply"), ("wificrm-agent", "run")):
        done = router.run(SCRIPTS / script, verb)
        assert (done.returncode, done.stderr.startswith("away is")) == (1, True)
        said = router.asked.read_text()
        assert [f'hook {hook} priority filter; policy accept; iifname "br-hall" drop;' in said
                for hook in ("input", "forward")] == [True, True]  # fmt: skip
        router.asked.unlink()
    router.program("nft", f'[ "$1" = list ] || cat >>{router.asked}')
    router.run(SCRIPTS / "wificrm-table", "apply")
    assert not router.asked.exists(), "the table that stands stays"


def test_every_option_stands_in_both_settings_files_with_its_default(router: Router) -> None:
    script = f'. "{SCRIPTS}/thin.sh"; has_uci() {{ false; }}; SETTINGS=/nowhere; read_settings\n'
    script += 'for option in $OPTIONS; do eval "echo $option=\\"\\$$option\\""; done'
    defaults = dict(line.split("=", 1) for line in router.run("-c", script).stdout.splitlines())
    told = (SCRIPTS / "wificrm-thin.config").read_text()
    plain = (SCRIPTS / "thin.conf").read_text()
    only_uci, needed = {"enabled", "guest_port", "wifi", "ssid"}, {"name", "portal", "key"}
    for option, value in defaults.items():
        if option != "web_group":
            assert f"option {option} '{value}'" in told or option in needed, option
        if option not in only_uci | needed | {"uplink", "masquerade", "web_group"}:
            assert f"#{option}={value}\n" in plain, option
    assert all(f"option {each} '" in told and f"\n{each}=" in plain for each in needed)


def test_files_are_made_and_taken_away_again(router: Router) -> None:
    setup = SCRIPTS / "wificrm-thin-setup"
    library = router.folder / "library"
    shutil.copytree(SCRIPTS, library)
    router.program("sysctl", "true")
    router.program("uclient-fetch", "true")
    at = {"WIFICRM_LIBRARY": str(library)}
    assert router.run(setup, "check", **at).returncode == 1
    for _ in range(2):
        assert router.run(setup, "apply", **at).returncode == 0
    made = sorted(path.name for path in (router.folder / "etc").rglob("*.conf"))
    assert made == ["60-wificrm-thin.conf", "90-wificrm-thin.conf", "wificrm-thin.conf"]
    assert (library / "www/index.cgi").read_text() == ""
    checked = router.run(setup, "check", **at)
    assert "not as it should be" not in checked.stdout
    for _ in range(2):
        assert router.run(setup, "remove", **at).returncode == 0
    assert not list((router.folder / "etc").rglob("*.conf"))


# -- OpenWrt --------------------------------------------------------------------------------------------

UCI = f"""
config thin 'thin'
	option enabled '1'
	option name 'hall2'
	option portal 'wifi.example'
	option key '{KEY}'
	option ssid "It's free"
	option guest_port 'lan4.20'
"""


@pytest.fixture
def openwrt(tmp_path: Path) -> OpenWrt:
    """A router whose owner has a network, Wi-Fi and web pages of their own."""
    made = OpenWrt(tmp_path, UCI)
    (made.configs / "uhttpd").write_text(
        "config uhttpd 'main'\n\tlist listen_http '0.0.0.0:80'\n\toption home '/www'\n"
    )
    made.recorder("wificrm-table")
    for tool in ("nft", "uclient-fetch", "flock", "pgrep"):
        made.recorder(tool)
    return made


def thin_setup(router: OpenWrt, *words: str) -> subprocess.CompletedProcess[str]:
    library = router.folder / "library"
    if not library.exists():
        shutil.copytree(SCRIPTS, library)
    given = {"WIFICRM_LIBRARY": str(library), "WIFICRM_RUN": str(router.folder / "thin")}
    return router.run(library / "wificrm-thin-setup", *words, **given)


def test_what_uci_is_told(openwrt: OpenWrt) -> None:
    done = thin_setup(openwrt, "print")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.replace(str(openwrt.folder / "library"), "/usr/lib/wificrm")
    assert text == (GOLDEN / "thin-uci.txt").read_text()
    assert openwrt.uci("changes") == ""
    assert thin_setup(openwrt, "print", "dhcp").stdout in done.stdout


def test_setup_twice_is_setup_once_and_remove_leaves_what_was_there(openwrt: OpenWrt) -> None:
    openwrt.uci("commit")
    before = [openwrt.uci("show", name) for name in ("network", "dhcp", "firewall", "uhttpd")]
    assert "not set:" in thin_setup(openwrt, "check").stdout
    assert thin_setup(openwrt, "apply").returncode == 0
    once = openwrt.texts()
    checked = thin_setup(openwrt, "check")
    assert "not set:" not in checked.stdout
    assert thin_setup(openwrt, "apply").returncode == 0
    assert openwrt.texts() == once
    assert openwrt.uci("get", "wireless.wificrm_radio0.ssid").strip() == "It's free"
    assert openwrt.uci("get", "uhttpd.main.home").strip() == "/www"
    for _ in range(2):
        assert thin_setup(openwrt, "remove").returncode == 0
    after = [openwrt.uci("show", name) for name in ("network", "dhcp", "firewall", "uhttpd")]
    assert after == before
    assert "wificrm_" not in openwrt.uci("show", "wireless")


def test_setup_opens_and_breaks_nothing_of_others(openwrt: OpenWrt) -> None:
    openwrt.batch("set wireless.default_radio0.encryption='none'\nset wificrm.thin.guest_port='lan2'\n")
    before = openwrt.texts()
    done = thin_setup(openwrt, "apply")
    assert (done.returncode, openwrt.texts()) == (1, before)
    port, radio = done.stderr.splitlines()
    assert port == "lan2 belongs to another bridge: uci del_list network.@device[0].ports='lan2'"
    assert radio.startswith(
        "radio0 is off; switched on, it would also offer wireless.default_radio0 without a"
    )
    assert radio.endswith("uci set wireless.default_radio0.disabled=1")
    checked = thin_setup(openwrt, "check")
    assert (checked.returncode, done.stderr in checked.stdout) == (1, True)


def test_a_router_that_has_a_guest_network_already_keeps_it(openwrt: OpenWrt) -> None:
    """By OpenWrt's own guide it is called as ours would be: fw4 defines each zone's name, and nft takes none twice."""
    more = {
        "network": "config device\n\toption name 'br-guest'\n\nconfig interface 'guest'\n\toption device 'br-guest'\n",
        "firewall": "config zone 'guest'\n\toption name 'guest'\n\tlist network 'guest'\n",
    }
    for name, text in more.items():
        with (openwrt.configs / name).open("a") as config:
            config.write(text)
    before = openwrt.texts()
    done = thin_setup(openwrt, "apply")
    assert (done.returncode, openwrt.texts()) == (1, before)
    assert done.stderr.splitlines() == [
        f"br-guest is {place} already: uci set wificrm.thin.interface='br-citizens'"
        for place in ("network.@device[1].name", "network.guest.device")
    ]
    openwrt.batch("set wificrm.thin.interface='br-citizens'\n")
    assert thin_setup(openwrt, "apply").returncode == 0
    shown = openwrt.uci("show", "firewall").splitlines()
    zones = [line.split("'")[1] for line in shown if ".name=" in line]
    assert sorted(zones) == ["guest", "lan", "wificrm"]


def test_a_router_without_radios_is_set_up_too(openwrt: OpenWrt) -> None:
    (openwrt.configs / "wireless").unlink()
    openwrt.recorder("reload_config")
    for verb in ("apply", "remove"):
        openwrt.calls.write_text("")
        done = thin_setup(openwrt, verb)
        assert (done.returncode, done.stderr) == (0, "")
        assert "reload_config" in openwrt.said()


def test_setup_commits_nothing_that_others_left_open(openwrt: OpenWrt) -> None:
    openwrt.uci("set", "network.lan.proto=dhcp")
    for verb in ("apply", "remove"):
        done = thin_setup(openwrt, verb)
        assert done.returncode == 1
        assert done.stderr.startswith("network has changes that nobody has committed")
        assert openwrt.uci("changes", "network") != ""


def test_the_firewall_table_is_made_from_uci_too(openwrt: OpenWrt) -> None:
    given = {"WIFICRM_LIBRARY": str(SCRIPTS), "WIFICRM_RUN": str(openwrt.folder)}
    done = openwrt.run(SCRIPTS / "wificrm-table", "print", **given)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'iifname "br-guest" goto upstream' in done.stdout
    assert "masquerade" not in done.stdout  # the router's own firewall does it


def test_guests_reach_no_network_that_the_router_serves(openwrt: OpenWrt) -> None:
    """Once a packet is let to our table fw4's zones decide no more, and a LAN has public addresses of IPv6."""
    network = openwrt.configs / "network"
    network.write_text(
        network.read_text() + "config interface 'desk'\n\toption device 'lan4.7'\n\toption proto 'static'\n"
        "config interface 'fixed'\n\toption device 'eth2'\n\toption proto 'static'\n\toption gateway '192.0.2.1'\n"
        "config interface 'alias'\n\toption device '@lan'\n\toption proto 'static'\n"
    )
    given = {"WIFICRM_LIBRARY": str(SCRIPTS), "WIFICRM_RUN": str(openwrt.folder)}
    shown = openwrt.run(SCRIPTS / "wificrm-table", "print", **given).stdout
    upstream = shown[shown.index("chain upstream") : shown.index("chain through")]
    refused, through = 'oifname { "br-lan", "lan4.7" } goto refuse', "ether saddr @allowed goto through"
    assert upstream.index("@garden6") < upstream.index(refused) < upstream.index(through)
    openwrt.batch("set wificrm.thin.uplink='eth1'\n")
    shown = openwrt.run(SCRIPTS / "wificrm-table", "print", **given).stdout
    assert ('oifname != "eth1" goto refuse' in shown, refused in shown) == (True, False)


RC = """
for f in procd_open_instance procd_set_param procd_close_instance procd_add_reload_trigger procd_add_interface_trigger
do eval "$f() {{ echo $f \\"\\$*\\" >>{calls}; }}"; done
stop() {{ echo stop >>{calls}; }}
"""


REMOVING = ["wificrm-thin-setup remove", "stop", "wificrm-table remove"]


def service(router: OpenWrt, function: str) -> list[str]:
    """What the init script's *function* calls; programs and procd's functions are recorders."""
    for name in ("table", "thin-setup", "agent"):
        router.recorder(f"wificrm-{name}")
    rc, init = router.folder / "rc", router.folder / "init"
    rc.write_text(RC.format(calls=router.calls))
    init.write_text((SCRIPTS / "wificrm-thin.init").read_text().replace("/usr/sbin/", ""))
    router.calls.write_text("")
    done = router.run("-uc", f". {rc}; . {init}; {function}")
    assert (done.returncode, done.stderr) == (0, "")
    return router.said()


def test_the_service_puts_the_table_up_before_it_runs_the_agent(openwrt: OpenWrt) -> None:
    calls = service(openwrt, "start_service")
    assert calls[:2] == ["wificrm-table apply", "procd_open_instance agent"]
    assert "procd_set_param command wificrm-agent run" in calls
    assert service(openwrt, "setup") == ["wificrm-thin-setup apply", "wificrm-table apply"]
    assert service(openwrt, "remove") == REMOVING
    init = (SCRIPTS / "wificrm-thin.init").read_text()
    start = next(
        int(line.split("=")[1].split()[0]) for line in init.splitlines() if line.startswith("START=")
    )
    assert start < 19  # where OpenWrt starts its firewall


def test_a_service_that_is_not_wanted_does_nothing(openwrt: OpenWrt) -> None:
    openwrt.batch("set wificrm.thin.enabled='0'\n")
    assert service(openwrt, "start_service") == []
    assert service(openwrt, "setup") == REMOVING
