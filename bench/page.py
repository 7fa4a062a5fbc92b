"""The first page and the probes' redirect: requests per second beside a bare handler that sends the same bytes."""

import re
import socket
import statistics
import subprocess
from pathlib import Path

from bench.processes import scratch, started
from bench.table import Row

ROUNDS, SECONDS = 5, 2
PROBED = "captive.apple.com"


def measure() -> list[Row]:
    """Page throughput and size."""
    with scratch() as folder, started("bench.portal", str(folder), "grouped") as (portal, _):
        page, redirect = folder / "page", folder / "redirect"
        # The page is asked for again and again on a connection; a probe has one for itself.
        page.write_bytes(_get(portal).replace(b"Connection: close\r\n", b""))
        redirect.write_bytes(_get(portal, host=PROBED))
        pages = _beside(portal, page)
        probes = _beside(portal, redirect, "-H", f"Host: {PROBED}")
        packed = len(_get(portal, "Accept-Encoding: gzip\r\n").partition(b"\r\n\r\n")[2])
    return [
        _row("first page", pages, "60 %, goal 80 %"),
        _row("probe redirect, a connection each", probes, "-"),
        Row("first page, gzip, one request", f"{packed:,} B", "14,336 B", f"{packed / 14_336:.0%}", "100 %"),
    ]


def _beside(portal: int, answer: Path, *options: str) -> list[tuple[float, float]]:
    """Requests per second of the portal and of a bare handler that sends *answer*, in turns."""
    with started("bench.bare", str(answer)) as (bare, _):
        return [(_requests(portal, *options), _requests(bare, *options)) for _ in range(ROUNDS)]


def _row(what: str, pairs: list[tuple[float, float]], hold: str) -> Row:
    ours, limit = (statistics.median(column) for column in zip(*pairs, strict=True))
    share = statistics.median(one / other for one, other in pairs)
    return Row(what, f"{ours:,.0f}/s", f"bare handler {limit:,.0f}/s", f"{share:.0%}", hold)


def _get(port: int, headers: str = "", *, host: str = "127.0.0.1") -> bytes:
    """The whole answer to a GET of /, as it comes over the wire."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer


def _requests(port: int, *options: str) -> float:
    """Requests per second that wrk reaches with 32 connections; any answer but 2xx and 3xx is an error."""
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", *options, f"http://127.0.0.1:{port}/"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise RuntimeError(told)
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert found is not None
    return float(found.group(1))


if __name__ == "__main__":
    print(*measure(), sep="\n")
