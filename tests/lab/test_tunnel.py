"""A DNS tunnel before the grant: iodine gets through, as it does wherever names are answered, and starves."""

import contextlib
import os
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRROPT

from captive.kernel.dns_limits import LONGEST_QUESTION
from tests.lab.conftest import NewPhone
from tests.lab.gateway import ADDRESS4, ADDRESS6
from tests.lab.internet import LARGE_NAME, TUNNEL_SERVER, TUNNEL_ZONE
from tests.lab.journey import skip
from tests.lab.namespace import stop
from tests.lab.phone import WIFI, Phone
from tests.lab.venue import Venue, eventually

pytestmark = pytest.mark.lab

SECONDS = 4
BUCKET_UP, BUCKET_DOWN, RATE = 16_000, 48_000, 1_000
"""Bytes that pass at once, and bytes a second after that."""
INSIDE, PORT = "10.77.0.1", 7000


@contextlib.contextmanager
def tunnel(venue: Venue, phone: Phone) -> Iterator[None]:
    """iodined at its zone's server, iodine on the phone, names as long as still pass."""
    if not shutil.which("iodine") or not os.path.exists("/dev/net/tun"):  # noqa: PTH110 - a device
        pytest.skip("iodine or /dev/net/tun is missing: apt-get install iodine")
    log = venue.run.folder / f"iodine-{phone.mac[-2:]}.log"
    server = venue.internet.namespace.start(
        *(
            "iodined",
            "-f",
            "-c",
            "-P",
            "pass",
            "-l",
            TUNNEL_SERVER,
            "-d",
            "dns9",
            f"{INSIDE}/27",
            TUNNEL_ZONE,
        ),
        log=log,
    )
    client = None
    try:
        assert eventually(lambda: "Listening to dns" in log.read_text())
        client = phone.namespace.start(
            *("iodine", "-f", "-r", "-P", "pass", "-T", "NULL", "-M", "110", "-m", "1000", "-d", "dns9"),
            *(ADDRESS4, TUNNEL_ZONE),
            log=log,
        )
        assert eventually(lambda: "Connection setup complete" in log.read_text(), within=60), log.read_text()
        yield
    finally:
        for process in filter(None, (client, server)):
            stop(process, kill=True)


def moved(sender: socket.socket, receiver: socket.socket, seconds: float) -> int:
    """Bytes that arrive at *receiver* within *seconds* while *sender*, connected to it, sends without a pause."""
    ended = threading.Event()

    def pour() -> None:
        while not ended.wait(0.005):
            with contextlib.suppress(OSError):
                sender.send(os.urandom(1000))  # iodine packs what can be packed

    pouring = threading.Thread(target=pour)
    pouring.start()
    count, until = 0, time.monotonic() + seconds
    receiver.settimeout(0.2)
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            count += len(receiver.recv(2048))
    ended.set()
    pouring.join()
    return count


def through(venue: Venue, phone: Phone) -> tuple[int, int]:
    """(bytes up, bytes down) through a tunnel within `SECONDS` each, the tunnel's own setting up not counted."""
    with (
        tunnel(venue, phone),
        venue.internet.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        phone.namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind((INSIDE, PORT))
        here.bind(("0.0.0.0", PORT))
        here.connect((INSIDE, PORT))
        here.send(b"hello")
        there.settimeout(30)
        _, address = there.recvfrom(100)
        there.connect(address)
        down = moved(there, here, SECONDS)
        up = moved(here, there, SECONDS)
    return up, down


@contextlib.contextmanager
def without_limits(venue: Venue) -> Iterator[None]:
    """What the box would be without them; the gate would put them back at once."""
    box = venue.gateway
    box.kill9("gate")
    box.namespace.run(
        "nft", "-f", "-", text="flush chain inet wificrm ask\nadd rule inet wificrm ask accept\n"
    )
    try:
        yield
    finally:
        box.start_gate()
        box.wait("gate")


def test_a_tunnel_starves(new_phone: NewPhone, venue: Venue) -> None:
    up, down = through(venue, new_phone())
    with without_limits(venue):
        free_up, free_down = through(venue, new_phone())
    print(  # noqa: T201 - the figure that the rule is for
        f"iodine, {SECONDS} s each: down {down} B, unlimited {free_down} B; up {up} B, unlimited {free_up} B"
    )
    assert down <= BUCKET_DOWN + SECONDS * RATE
    assert up <= BUCKET_UP + 2 * SECONDS * RATE
    assert free_down > BUCKET_DOWN + SECONDS * RATE, "the tunnel itself is too slow to tell"


def question(name: str, kind: int | str = "TXT") -> bytes:
    """A question that takes answers of any size."""
    number = int.from_bytes(os.urandom(2), "big")
    return bytes(DNS(id=number, rd=1, qd=DNSQR(qname=name, qtype=kind), ar=DNSRROPT(rclass=4096)))


def test_nobody_gets_more_by_other_addresses_or_over_tcp(phone: Phone) -> None:
    """The best that any tunnel could do: large answers from nearby, asked for without a pause."""
    spare = [f"fd50:7c3a:1::77:{number:x}" for number in range(1, 21)]
    phone.namespace.ip(*(f"address add {address}/64 dev {WIFI} nodad" for address in spare))
    began, told = time.monotonic(), 0
    with contextlib.ExitStack() as stack:
        socks = []
        for address in spare:
            sock = stack.enter_context(phone.open_socket(ADDRESS6, socket.SOCK_DGRAM))
            sock.bind((address, 0))
            sock.connect((ADDRESS6, 53))
            sock.setblocking(False)
            socks.append(sock)
        while time.monotonic() < began + 2:
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(question(LARGE_NAME))
                with contextlib.suppress(OSError):
                    told += len(sock.recv(4096))
            time.sleep(0.01)
    assert told > BUCKET_DOWN / 4, "the answers must be large, or this proves nothing"
    told += told_over_tcp(phone, 2)
    assert told <= BUCKET_DOWN + RATE * (time.monotonic() - began)


def told_over_tcp(phone: Phone, seconds: float) -> int:
    """Bytes that the resolver says on one connection that asks and asks."""
    asked = struct.pack("!H", len(question(LARGE_NAME))) + question(LARGE_NAME)
    told, until = 0, time.monotonic() + seconds
    with phone.open_socket(ADDRESS4, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            sock.connect((ADDRESS4, 53))
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                sock.send(asked * 10)
            with contextlib.suppress(OSError):
                told += len(sock.recv(65536))
    return told


def test_a_name_that_no_host_has_is_refused_at_once(phone: Phone) -> None:
    longest = ".".join(["x" * 60] * 2)
    assert len(question(longest)) <= LONGEST_QUESTION - 8
    assert phone.udp(ADDRESS4, 53, data=question(longest)) == "answer"
    for address, refused in ((ADDRESS4, "icmp 3/13"), (ADDRESS6, "icmp 1/1")):
        assert phone.udp(address, 53, data=question(".".join(["x" * 50] * 4))) == refused
    skip(phone)
    assert phone.udp(ADDRESS4, 53, data=question(".".join(["x" * 50] * 4))) == "answer"


def test_what_a_phone_asks_when_it_joins_is_all_answered(phone: Phone, venue: Venue) -> None:
    """Sixty names at once, each for its addresses and its HTTPS record, none asked twice."""
    names = [f"{number}.garden.example" for number in range(30)] + list(venue.internet.addresses)[:30]
    assert answered(phone, [question(name, kind) for name in names for kind in (1, 28, 65)]) == 180


def test_a_guest_online_asks_as_much_as_a_browser_does(phone: Phone) -> None:
    skip(phone)
    assert answered(phone, [question(LARGE_NAME) for _ in range(200)]) == 200


def answered(phone: Phone, questions: list[bytes]) -> int:
    """How many of *questions*, sent at once, are answered."""
    with phone.open_socket(ADDRESS4, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        sock.connect((ADDRESS4, 53))
        for number, data in enumerate(questions):
            sock.send(struct.pack("!H", number) + data[2:])
        sock.settimeout(2)
        seen: set[bytes] = set()
        with contextlib.suppress(TimeoutError):
            while len(seen) < len(questions):
                seen.add(sock.recv(4096)[:2])
    return len(seen)
