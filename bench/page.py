"""The first page: requests per second beside a bare handler that sends the same bytes; its size."""

import re
import socket
import statistics
import subprocess

from bench.processes import scratch, started
from bench.table import Row

ROUNDS, SECONDS = 5, 2


def measure() -> list[Row]:
    """Page throughput and size."""
    with scratch() as folder, started("bench.portal", str(folder), "grouped") as (portal, _):
        body = folder / "answer"
        body.write_bytes(_get(portal))
        with started("bench.bare", str(body)) as (bare, _):
            pairs = [(_requests(portal), _requests(bare)) for _ in range(ROUNDS)]
        packed = len(_get(portal, "Accept-Encoding: gzip\r\n").partition(b"\r\n\r\n")[2])
        probes = _requests(portal, "-H", "Host: captive.apple.com")
    ours, limit = (statistics.median(column) for column in zip(*pairs, strict=True))
    share = statistics.median(one / other for one, other in pairs)
    return [
        Row(
            "first page", f"{ours:,.0f}/s", f"bare handler {limit:,.0f}/s", f"{share:.0%}", "60 %, goal 80 %"
        ),
        Row("probe redirect, a connection each", f"{probes:,.0f}/s", "-", "-", "-"),
        Row("first page, gzip, one request", f"{packed:,} B", "14,336 B", f"{packed / 14_336:.0%}", "100 %"),
    ]


def _get(port: int, headers: str = "") -> bytes:
    """The whole answer to a GET of the first page, as it comes over the wire."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Connection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return answer.replace(b"Connection: close\r\n", b"")


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
