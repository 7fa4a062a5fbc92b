"""Traffic in bulk: iperf3 between a device and the internet, and what each side of it was told."""

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tests.lab.internet import STRAY4, STRAY6
from tests.lab.namespace import Namespace, stop
from tests.lab.venue import Venue

PORTS = range(5201, 5221)


class Carried(NamedTuple):
    """What a run carried: payload *bytes* that arrived, *rate* in kbit/s over *seconds*, *lost* datagrams' share."""

    bytes: int
    rate: float
    seconds: float
    lost: float


class Traffic:
    """iperf3 servers in the internet of *venue*; each takes one run at a time."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._ports = itertools.cycle(PORTS)
        self._folder = venue.run.folder

    def start(self, device: Namespace, *options: str, family: int = 4) -> subprocess.Popen[bytes]:
        """Begin a run from *device*; hand it to `end`. *options* are those of ``iperf3 --client``."""
        port = str(next(self._ports))
        where = self._venue.internet.namespace
        target = STRAY4 if family == 4 else STRAY6
        # Bound to the address that is asked: datagrams are answered from no other.
        bound = ("iperf3", "-s", "-1", "-B", target, "-p", port)
        server = where.start(*bound, log=self._folder / f"iperf-{port}.server")
        self._wait_for(where, int(port))
        log = self._folder / f"iperf-{port}.json"
        log.unlink(missing_ok=True)
        client = device.start("iperf3", "-c", target, "-p", port, "-J", *options, log=log)
        client.args = [str(log), server]  # type: ignore[assignment]
        return client

    def end(self, client: subprocess.Popen[bytes], *, within: float = 30) -> Carried:
        """What the run carried. Raises RuntimeError when it broke."""
        log, server = client.args  # type: ignore[misc]
        try:
            client.wait(within)
        finally:
            stop(server, kill=True)  # type: ignore[arg-type]
            stop(client, kill=True)
        told = msgspec.json.decode(open(log, "rb").read())  # type: ignore[arg-type]
        if "error" in told:
            raise RuntimeError(told["error"])
        ended = told["end"]
        got = ended.get("sum_received") or ended["sum"]
        return Carried(
            got["bytes"], got["bits_per_second"] / 1000, got["seconds"], got.get("lost_percent", 0) / 100
        )

    def run(self, device: Namespace, *options: str, family: int = 4) -> Carried:
        """A whole run."""
        return self.end(self.start(device, *options, family=family))

    @staticmethod
    def _wait_for(where: Namespace, port: int) -> None:
        until = time.monotonic() + 10
        while f":{port} " not in where.run("ss", "-Hltn", f"sport = {port}"):
            if time.monotonic() > until:
                raise RuntimeError("iperf3 does not listen")
            time.sleep(0.02)
