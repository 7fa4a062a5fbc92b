"""A page rendered once and sent many times, each time with another token in it.

The same bytes for everybody but for the token, so neither template nor compressor runs per visitor. The
compressed form is one gzip member (RFC 1952): the page's halves are deflated once and end on a byte
boundary; the token between them travels as a stored block (RFC 1951 section 3.2.4).
"""

import functools
import zlib
from collections.abc import Sequence

MARK = "@token-goes-here@"
"""What a template gets as its token when it is rendered to be spliced."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"


_NOTHING = ("q=0", "q=0.", "q=0.0", "q=0.00", "q=0.000")


@functools.lru_cache(maxsize=256)
def accepts_gzip(accept: str) -> bool:
    """Whether an ``Accept-Encoding`` header names gzip, and not as what its sender cannot take.

    RFC 9110 section 12.5.3; who takes anything (``*``) and names nothing gets the plain page.
    """
    for part in accept.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.strip() not in _NOTHING
    return False


class SplicedPage:
    """A page in which every `MARK` becomes a token when it is sent, in pieces that are not copied before."""

    def __init__(self, page: str) -> None:
        parts = [part.encode() for part in page.split(MARK)]
        self._parts = parts
        self._last = len(parts) - 1
        self._size = sum(map(len, parts))
        self._begun, self._rest = zlib.crc32(parts[0]), parts[1:]  # before the first token stands the style
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._packed = [
            packer.compress(part) + packer.flush(zlib.Z_FINISH if index == self._last else zlib.Z_FULL_FLUSH)
            for index, part in enumerate(parts)
        ]

    def plain(self, token: bytes) -> list[bytes]:
        """The page with *token* in it, in pieces."""
        return _between(self._parts, token)

    def gzipped(self, token: bytes) -> list[bytes]:
        """The same page, compressed."""
        size = len(token)
        stored = b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + token
        check = self._begun
        for part in self._rest:
            check = zlib.crc32(part, zlib.crc32(token, check))
        whole = self._size + self._last * size
        trailer = check.to_bytes(4, "little") + (whole & 0xFFFFFFFF).to_bytes(4, "little")
        return [_GZIP_HEADER, *_between(self._packed, stored), trailer]


def _between(parts: Sequence[bytes], token: bytes) -> list[bytes]:
    """*parts* with *token* between each two of them."""
    pieces = [token] * (2 * len(parts) - 1)
    pieces[::2] = parts
    return pieces
