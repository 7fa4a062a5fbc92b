"""The doctor without a venue: what it prints, whom it plays no phone on, and what strangers' bytes do to its phone."""

import http.client
import socket
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6

from captive.advertise.advertisement import captive_portal_option
from captive.demo import demo_settings
from captive.doctor.examination import PLAYED, examine
from captive.doctor.finding import Finding, Notes, as_json, as_text, exit_code
from captive.doctor.phone import dhcp, web
from captive.doctor.phone.advertisements import read_advertisement
from captive.doctor.phone.probes import PROBES
from captive.doctor.phone.resolving import AAAA, A, make_question, read_reply
from crm.probe_hosts import PROBE_HOSTS

MAC = "02:d0:c7:00:00:01"


def test_lines_under_headings_and_a_sum() -> None:
    box, phone = Notes(), Notes("join", "hall")
    box.ok("clock", "2026-11-22 03:00 UTC")
    box.warn("certificate", "9 days left", "see why it was not renewed")
    phone.fault("A phone asks for an address", "got none", "see dnsmasq, above")
    phone.skip("DHCP names the portal", "without an answer there is nothing to read")
    findings = [*box.findings, *phone.findings]
    assert as_text(findings) == (
        "This box\n"
        "ok       clock: 2026-11-22 03:00 UTC\n"
        "WARNING  certificate: 9 days left\n"
        "         -> see why it was not renewed\n"
        "\n"
        "A phone joins hall\n"
        "FAULT    A phone asks for an address: got none\n"
        "         -> see dnsmasq, above\n"
        "-        DHCP names the portal: without an answer there is nothing to read\n"
        "\n"
        "1 fault: A phone asks for an address.\n"
        "1 warning: certificate."
    )
    assert exit_code(findings) == 1
    assert exit_code(box.findings) == 0
    assert as_text(box.findings[:1]).endswith("\n\nNothing is wrong.")
    assert msgspec.json.decode(as_json(findings), type=list[Finding]) == findings


@pytest.mark.parametrize("kind", ["open", "no network"])
async def test_where_no_phone_can_be_played_it_says_so(tmp_path: Path, kind: str) -> None:
    settings = demo_settings(8000, tmp_path)
    if kind == "no network":
        gate = msgspec.structs.replace(settings.gate, gateway="gate")
        settings = msgspec.structs.replace(settings, networks=(), gate=gate)
    found = await examine(settings, PLAYED)
    [phone] = [each for each in found if each.what == "A phone"]
    assert phone.state == "skipped"
    assert ("gate.gateway is open" if kind == "open" else "no guests of its own") in phone.detail
    assert all(each.part == "box" for each in found)


def test_probes_are_known_as_such() -> None:
    """What the doctor asks, the portal must never take for a page that somebody wanted."""
    assert {probe.host for probe in PROBES} <= PROBE_HOSTS


def test_dhcp_is_spoken_as_others_read_it() -> None:
    read = IP(dhcp.as_packet(dhcp.question(dhcp.DISCOVER, MAC, 7)))
    sent = bytes(read)
    del read.chksum
    assert bytes(IP(bytes(read))) == sent, "the checksum is right"
    assert (read.src, read.dst, read[UDP].sport, read[UDP].dport) == ("0.0.0.0", "255.255.255.255", 68, 67)
    assert (read[BOOTP].xid, read[BOOTP].chaddr[:6].hex(":"), str(read[BOOTP].flags)) == (7, MAC, "B")
    assert ("message-type", 1) in read[DHCP].options
    assert ("param_req_list", [1, 3, 6, 51, 114]) in read[DHCP].options
    given_back = BOOTP(dhcp.question(dhcp.RELEASE, MAC, 8, server="192.168.50.1", own="192.168.50.9"))
    assert given_back.ciaddr == "192.168.50.9"
    assert ("server_id", "192.168.50.1") in given_back[DHCP].options


def test_what_servers_say_is_read() -> None:
    offer = (
        IP(src="192.168.50.1", dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, xid=7, yiaddr="192.168.50.23")
        / DHCP(
            options=[
                ("message-type", "offer"),
                ("server_id", "192.168.50.1"),
                ("lease_time", 7200),
                ("subnet_mask", "255.255.255.0"),
                (114, b"https://portal.example/api"),
                "end",
            ]
        )
    )
    said = dhcp.answer(bytes(offer))
    assert said is not None
    assert (said.number, said.address, said.kind, said.seconds) == (7, "192.168.50.23", dhcp.OFFER, 7200)
    assert (said.address_of(dhcp.SERVER), said.prefix) == ("192.168.50.1", 24)
    assert (said.api, said.address_of(dhcp.ROUTER)) == ("https://portal.example/api", "")
    router = IPv6(src="fe80::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800)
    router /= ICMPv6NDOptPrefixInfo(prefix="fd50::", prefixlen=64)
    packet = bytes(router) + captive_portal_option("https://portal.example/api")
    heard = read_advertisement(packet)
    assert heard is not None
    assert heard == ("fe80::1", 1800, ("fd50::/64",), "https://portal.example/api")
    assert read_advertisement(packet[:7] + b"\x40" + packet[8:]) is None, "it came over a router"
    question = DNS(make_question(9, "captive.apple.com", A))
    assert (question.id, question.rd, question.qd[0].qname, question.qd[0].qtype) == (
        9,
        1,
        b"captive.apple.com.",
        1,
    )
    alias = [
        DNSRR(rrname="captive.apple.com", type="CNAME", rdata="edge.example"),
        DNSRR(rrname="edge.example", type="A", rdata="198.51.100.9"),
    ]
    reply = DNS(id=9, qr=1, qd=DNSQR(qname="captive.apple.com"), an=alias)
    found = read_reply(bytes(reply), 9, A)
    assert found is not None
    assert (found.code, [str(each) for each in found.addresses]) == (0, ["198.51.100.9"])
    assert read_reply(bytes(reply), 10, A) is None


@given(st.binary(max_size=600))
def test_nothing_that_strangers_send_breaks_the_phone(data: bytes) -> None:
    bootp = bytes([0x45]) + bytes(8) + b"\x11" + bytes(10) + struct.pack("!HH", 67, 68) + bytes(4)
    cookie = b"\x02" + bytes(235) + bytes.fromhex("63825363")
    for packet in (data, bootp + data, bootp + cookie + data):
        said = dhcp.answer(packet)
        if said:
            assert isinstance(
                (said.kind, said.address_of(dhcp.SERVER), said.seconds, said.prefix, said.api), tuple
            )
    head = b"\x60" + bytes(5) + b"\x3a\xff" + bytes(32)
    for packet in (data, head + data, head + b"\x86\x00" + bytes(14) + data):
        read_advertisement(packet)
    for packet in (data, b"\x00\x07\x80\x00\x00\x01\x00\x05" + bytes(4) + data):
        for kind in (A, AAAA):
            read_reply(packet, 7, kind)


@given(st.binary(max_size=300))
def test_no_answer_of_a_web_server_breaks_the_phone(data: bytes) -> None:
    for answer in (
        data,
        b"HTTP/1.1 200 OK\r\n" + data,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + data,
    ):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(answer)
            theirs.shutdown(socket.SHUT_WR)
            try:
                page = web._exchange(ours, b"", until=1e9)
            except ValueError:
                continue
            assert isinstance(page.headers, http.client.HTTPMessage)
