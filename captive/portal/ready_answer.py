"""Answers whose head was written beforehand and whose body lies in memory in pieces: for what is asked for most.

The pieces go to the socket as they lie there, one after another: to put a page of 20 kB together anew for each guest
costs a quarter of the pages per second. TLS copies anyway, and would make a record of each piece.
"""

from collections.abc import Sequence
from email.utils import formatdate
from time import time

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict


class ReadyHead:
    """The head of a page's answer: 200 with *headers*, and the date and the length of the body."""

    def __init__(self, headers: CIMultiDict[str]) -> None:
        self._headers = headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._begun = f"HTTP/1.1 200 OK\r\n{lines}".encode()
        self._made = b""
        self._made_for = (0, 0)

    def answer(self, request: web.Request, pieces: Sequence[bytes]) -> web.StreamResponse:
        """The answer to *request* with *pieces* as its body. No signal of the application sees it sent."""
        if request.method != "GET" or request.version != HttpVersion11 or not request.keep_alive:
            return web.Response(body=b"".join(pieces), headers=self._headers)
        whole = (self._head(sum(map(len, pieces))), *pieces)
        return _ReadyAnswer(self._headers, (b"".join(whole),) if request.secure else whole)

    def _head(self, size: int) -> bytes:
        """The head in bytes; the same until the second is over."""
        wanted = int(time()), size
        if wanted != self._made_for:
            date = formatdate(wanted[0], usegmt=True)
            self._made = self._begun + f"Content-Length: {size}\r\nDate: {date}\r\n\r\n".encode()
            self._made_for = wanted
        return self._made


class _ReadyAnswer(web.StreamResponse):
    """Sends what it is given, once, and waits as long as its reader is too slow."""

    def __init__(self, headers: CIMultiDict[str], whole: Sequence[bytes]) -> None:
        super().__init__(headers=headers)
        self._whole = whole

    @property
    def keep_alive(self) -> bool:
        """A caller that wants its connection closed gets an ordinary answer."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Nothing is left to be prepared."""
        self._transport, self._writer = request.transport, request.writer
        return self._writer

    async def write_eof(self, _data: bytes = b"") -> None:
        """Send it. Raises ConnectionError when the other side is gone."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._transport.writelines(self._whole)
        await self._writer.drain()
