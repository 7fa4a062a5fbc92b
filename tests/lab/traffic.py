"""Traffic in bulk: iperf3 between a device and the internet, and what arrived of it."""

import itertools
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from tests.lab.internet import STRAY4, STRAY6
from tests.lab.namespace import Namespace, stop
from tests.lab.phone import WIFI
from tests.lab.venue import Venue

PORTS = range(5201, 5221)


class Carried(NamedTuple):
    """What a run carried: payload *sent*, *bytes* of it that arrived, *kbit* of them a second; the *least* flow's."""

    sent: int
    bytes: int
    kbit: float
    least: int


class Cable(NamedTuple):
    """Bytes of the frames that a device sent (*up*) and was sent (*down*) so far, as its own end counts them."""

    up: int
    down: int

    @classmethod
    def of(cls, device: Namespace, interface: str = WIFI) -> Self:
        """What passed *interface* of *device*; pieces that the kernel did not cut yet are one frame each."""
        with device.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        numbers = next(line.split() for line in lines if line.split()[0] == f"{interface}:")
        return cls(int(numbers[9]), int(numbers[1]))

    def since(self, before: "Cable") -> "Cable":
        """What passed since *before*."""
        return Cable(self.up - before.up, self.down - before.down)


class Exchange:
    """A run under way."""

    def __init__(self, server: subprocess.Popen[bytes], client: subprocess.Popen[bytes], said: Path) -> None:
        self._server, self._client, self._said = server, client, said

    def end(self, within: float = 120) -> Carried:
        """What it carried. Raises RuntimeError when it broke, TimeoutExpired when it does not end."""
        try:
            self._client.wait(within)
        finally:
            self.stop()
        told = msgspec.json.decode(self._said.read_bytes())
        if "error" in told:
            raise RuntimeError(told["error"])
        ended = told["end"]
        whole = ended.get("sum_received") or ended["sum"]
        flows = [flow.get("receiver") or flow["udp"] for flow in ended["streams"]]
        sent = (ended.get("sum_sent") or whole)["bytes"]
        least = min(flow["bytes"] for flow in flows)
        return Carried(sent, whole["bytes"], whole["bits_per_second"] / 1000, least)

    def stop(self) -> None:
        """Break it off."""
        for process in (self._client, self._server):
            stop(process, kill=True)


class Traffic:
    """iperf3 between devices and the internet of *venue*."""

    def __init__(self, venue: Venue) -> None:
        self._internet, self._folder = venue.internet.namespace, venue.run.folder
        self._ports = itertools.cycle(PORTS)

    def start(self, device: Namespace, *options: str, family: int = 4) -> Exchange:
        """Begin a run from *device*; *options* are those of ``iperf3 --client``."""
        port, target = next(self._ports), STRAY4 if family == 4 else STRAY6
        said = self._folder / f"iperf-{port}.json"
        said.unlink(missing_ok=True)
        # Bound to the address that is asked: datagrams are answered from no other.
        command = ("iperf3", "-s", "-1", "-B", target, "-p", str(port))
        server = self._internet.start(*command, log=self._folder / f"iperf-{port}.server")
        until = time.monotonic() + 60
        while not self._internet.run("ss", "-Hltn", f"sport = {port}").strip():
            if time.monotonic() > until:
                raise RuntimeError("iperf3 does not listen")
            time.sleep(0.02)
        client = device.start("iperf3", "-c", target, "-p", str(port), "-J", *options, log=said)
        return Exchange(server, client, said)

    def run(self, device: Namespace, *options: str, family: int = 4) -> Carried:
        """A whole run."""
        return self.start(device, *options, family=family).end()
