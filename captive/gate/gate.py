"""The gate: the small process with CAP_NET_ADMIN that knows allow, deny and list, and nothing else.

It reads from a Unix socket what the portal, which holds no privileges, asks for. Whatever waits goes into
the kernel as one transaction. It keeps no state: leases live in the kernel and end there, with the gate
stopped too. It logs no device.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from captive.box.applied import Wish
from captive.box.box import make_folder
from captive.gate.callers import MAX_CLIENTS, group_id, listen, refusal_of, say
from captive.gate.hostapd import send_away
from captive.gateway import (
    MAX_DEVICES,
    MAX_REQUEST,
    Allow,
    Answer,
    Deny,
    Lease,
    List,
    Request,
    Terms,
    key_parts,
)
from captive.kernel.conntrack import addresses_of, forget_flows
from captive.kernel.firewall import Firewall, FirewallError
from captive.kernel.isolation import keep_isolated
from captive.kernel.table_watch import watch_table
from captive.kernel.uplink_networks import watch_networks
from captive.signals import until_stopped
from crm.errors import SetupError
from crm.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")

MAX_WAITING = 256
"""Requests under way at most on one connection; what comes beyond waits in the socket."""

SWEEP_EVERY = 60.0
"""Seconds between two looks for counts of devices that are not let through."""

Change = Allow | Deny
Waiting = tuple[Change, asyncio.Future[None]]


async def serve_gate(settings: Settings, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; *ready* is called when the socket takes calls.

    Raises `SetupError` when this box does not allow it.
    """
    gate = Gate(settings)
    try:
        await gate.open()
        ready()
        await gate.serve_until(until_stopped())
    finally:
        await gate.close()


class Gate:
    """Three threads beside the loop: for changes of the table in order, for what takes longer, for hostapd."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._firewall, self._lister = Firewall(settings), Firewall(settings)
        self._changing, self._looking, self._parting = (ThreadPoolExecutor(1) for _ in range(3))
        self._leaving: asyncio.Queue[Sequence[str]] = asyncio.Queue()
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        self._decode = msgspec.json.Decoder(Request).decode
        self._group = group_id(settings.gate.group)
        self._clients: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._path = Path(settings.gate.socket)
        self._made_folder = False
        self._wish = Wish(settings)

    async def open(self) -> None:
        """Put the table there, listen. Raises `SetupError`."""
        self._made_folder = make_folder(self._path.parent, self._settings.gate.group)
        listener = listen(str(self._path), self._group)
        try:
            await self._in_order(self._firewall.apply)
        except FirewallError as error:
            listener.close()
            raise SetupError(f"the firewall was not changed: {error}; the gate needs CAP_NET_ADMIN") from None
        bridges = [network.interface for network in self._settings.networks]
        work = (self._work(), self._see_off(), self._sweep(), watch_table(self._mend), keep_isolated(bridges))
        uplink = watch_networks(self._settings.uplink.interface, lambda: self._firewall.beside, self._mend)
        self._tasks = [asyncio.create_task(each) for each in (*work, uplink)]
        self._server = await asyncio.start_unix_server(self._meet, sock=listener, limit=MAX_REQUEST)

    async def serve_until(self, end: Coroutine[None, None, None]) -> None:
        """Serve until *end* returns; what breaks a part of the gate breaks the whole, not to be half alive."""
        ending = asyncio.create_task(end)
        try:
            done, _ = await asyncio.wait([ending, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            ending.cancel()

    async def close(self) -> None:
        """Hang up on everybody; table and leases stay."""
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._made_folder:
            with contextlib.suppress(OSError):  # somebody else keeps a file in it
                self._path.parent.rmdir()
        tasks = [*self._clients, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for thread in (self._changing, self._looking, self._parting):
            thread.shutdown(cancel_futures=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        refusal = self._refuse(writer.get_extra_info("socket"))
        # Ended by `close` it is done like any other; Python 3.11's streams log a cancelled one as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if refusal:
                log.warning("a caller was turned away", reason=refusal)
                await say(writer, Answer(0, refusal))
            else:
                await self._serve(reader, writer)
        writer.close()

    def _refuse(self, connection: socket.socket) -> str:
        if len(self._clients) > MAX_CLIENTS:
            return f"more than {MAX_CLIENTS} callers at once"
        return refusal_of(connection, self._group)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slots = asyncio.Semaphore(MAX_WAITING)
        async with asyncio.TaskGroup() as answers:
            while True:
                try:
                    line = await reader.readline()
                    if not line.endswith(b"\n"):  # the end; what was cut off by it is no request
                        return
                    request = self._decode(line)
                except (
                    ValueError
                ):  # too long, not JSON, not a request, not a MAC: msgspec's errors are ValueErrors
                    await say(writer, Answer(0, "this is no request"))
                    return
                await slots.acquire()
                answers.create_task(self._answer(request, writer)).add_done_callback(
                    lambda _: slots.release()
                )

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        answer = Answer(request.id)
        try:
            if isinstance(request, List):
                answer = Answer(request.id, leases=await self._leases(request))
            else:
                done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.put_nowait((request, done))
                await done
                if isinstance(request, Deny):
                    await self._look(self._end_flows, request.devices)
                    self._leaving.put_nowait(request.devices)
        except (FirewallError, OSError) as error:
            answer = Answer(request.id, str(error))
        with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a line that was hung up
            await say(writer, answer)

    async def _leases(self, request: List) -> dict[str, Lease]:
        list_leases = partial(self._lister.leases, counts=request.counts)
        try:
            return await self._look(list_leases)
        except FirewallError:
            await self._mend()
            return await self._look(list_leases)

    def _end_flows(self, devices: Sequence[str]) -> None:
        """What a device sends is refused already; this ends what still comes down to it."""
        for network in self._settings.networks:
            keys = [key_parts(device) for device in devices if device.startswith(f"{network.name} ")]
            macs = {mac for _, mac, address in keys if not address}
            # Behind a repeater one MAC is many people: their flows go one by one.
            addresses = {socket.inet_aton(address) for _, _, address in keys if address}
            forget_flows(addresses | addresses_of(macs, network.interface))

    async def _see_off(self) -> None:
        """End the radio links of those who were shut out, all that wait at once."""
        while True:
            devices = {*await self._leaving.get()}
            while not self._leaving.empty():
                devices.update(self._leaving.get_nowait())
            await asyncio.get_running_loop().run_in_executor(self._parting, self._send_away, devices)

    def _send_away(self, devices: Collection[str]) -> None:
        for network in self._settings.networks:
            keys = [key_parts(device) for device in devices if device.startswith(f"{network.name} ")]
            macs = {mac for _, mac, address in keys if not address}  # a repeater stays, for its others
            for path in network.hostapd:
                try:
                    send_away(path, macs)
                except OSError as error:
                    log.warning("hostapd does not answer", socket=path, reason=error.strerror or str(error))

    async def _work(self) -> None:
        """Carry out whatever waits, all of it as one; while that runs, the next batch gathers."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await self._in_order(self._carry_out, [change for change, _ in batch])
            except (FirewallError, OSError):
                await self._one_by_one(batch)
            else:
                for _, done in batch:
                    _settle(done)

    async def _one_by_one(self, batch: Sequence[Waiting]) -> None:
        """Find out which change the kernel does not take; the others must not suffer for it."""
        for change, done in batch:
            try:
                await self._in_order(self._carry_out, [change])
            except (FirewallError, OSError) as error:
                log.error("a change was refused", reason=str(error))  # noqa: TRY400 - the reason says it all
                _settle(done, error)
            else:
                _settle(done)

    def _carry_out(self, changes: Sequence[Change]) -> None:
        terms: dict[str, Terms | None] = {}
        for change in changes:  # in the order asked: the last word on a device holds
            terms |= change.leases if isinstance(change, Allow) else dict.fromkeys(change.devices)
        try:
            self._firewall.change(terms)
        except FirewallError:
            if objection := self._wish.objection():
                raise FirewallError(objection) from None
            if self._firewall.intact():  # a set is full
                raise
            self._firewall.apply()
            self._firewall.change(terms)

    async def _sweep(self) -> None:
        """Keep the sets of counts for those who are online; one phone with many MACs could fill them."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            with contextlib.suppress(FirewallError):  # no table just now: nothing to sweep
                left = list(await self._look(self._lister.strays))
                while left:
                    await self._in_order(self._firewall.forget_counts, left[:MAX_DEVICES])
                    del left[:MAX_DEVICES]

    async def _mend(self) -> None:
        """Put the table back when it is not as it ought to be, unless ``wificrm gateway`` did it."""
        if self._wish.objection():
            return
        try:
            if reason := await self._in_order(self._firewall.wrong):
                await self._in_order(self._firewall.apply)
                log.warning("the table was put there anew", reason=reason)
        except FirewallError as error:
            log.error("the table cannot be put back", reason=str(error))  # noqa: TRY400

    async def _in_order(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._changing, work, *args)

    async def _look(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._looking, work, *args)


def _settle(done: asyncio.Future[None], error: Exception | None = None) -> None:
    if done.done():  # whoever asked has hung up
        return
    if error:
        done.set_exception(error)
    else:
        done.set_result(None)
