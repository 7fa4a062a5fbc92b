"""A file sealed for one reader, by public key or passphrase, in pieces of bounded size.

``wclseal1``, one letter, then for ``k`` the file's key in a sealed box, for ``p`` the salt of the passphrase
(Argon2id); then libsodium's secretstream (XChaCha20-Poly1305): 24 bytes of header and pieces of 64 KiB, the
last one marked as the last, so that a file that was cut short or changed anywhere does not open.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from nacl import bindings
from nacl.public import PrivateKey, PublicKey, SealedBox

from captive.connections.keys import SALT, open_sealed, stretch
from crm.errors import SetupError

MAGIC = b"wclseal1"
PIECE = 64 * 1024
_KEY = bindings.crypto_secretstream_xchacha20poly1305_KEYBYTES
_HEADER = bindings.crypto_secretstream_xchacha20poly1305_HEADERBYTES
_MORE = bindings.crypto_secretstream_xchacha20poly1305_ABYTES
_LAST = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_SEALED_KEY = 80

Reader = PublicKey | str
"""Who may open a file: the holder of a private key, or whoever knows a passphrase."""


def seal(pieces: Iterable[bytes], reader: Reader) -> Iterator[bytes]:
    """The sealed form of *pieces*, piece by piece."""
    if isinstance(reader, PublicKey):
        key = os.urandom(_KEY)
        front = MAGIC + b"k" + SealedBox(reader).encrypt(key)
    else:
        salt = os.urandom(SALT)
        key, front = stretch(reader, salt), MAGIC + b"p" + salt
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    yield front + bindings.crypto_secretstream_xchacha20poly1305_init_push(state, key)
    waiting = b""
    for piece in pieces:
        waiting += piece
        while len(waiting) > PIECE:
            yield bindings.crypto_secretstream_xchacha20poly1305_push(state, waiting[:PIECE], front)
            waiting = waiting[PIECE:]
    yield bindings.crypto_secretstream_xchacha20poly1305_push(state, waiting, front, _LAST)


def needs_passphrase(file: BinaryIO) -> bool:
    """Whether the sealed *file* opens with a passphrase (else a private key). Raises `SetupError`."""
    start = file.read(len(MAGIC) + 1)
    file.seek(0)
    if start not in (MAGIC + b"k", MAGIC + b"p"):
        raise SetupError("this is no sealed export")
    return start.endswith(b"p")


def unseal(file: BinaryIO, key: PrivateKey | None, passphrase: Callable[[], str]) -> Iterator[bytes]:
    """What was sealed into *file*, piece by piece. Raises `SetupError` when it does not open.

    Nothing of it may be believed before the last piece has come.
    """
    front = file.read(len(MAGIC) + 1)
    more = file.read(_SEALED_KEY if front.endswith(b"k") else SALT)
    opened = (
        (open_sealed(more, [key]) if key else None)
        if front.endswith(b"k")
        else stretch(passphrase(), more)
        if len(more) == SALT
        else None
    )
    if opened is None:
        raise SetupError("this key does not open the export; it was sealed for another one")
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    header = file.read(_HEADER)
    if len(header) != _HEADER:
        raise SetupError("the export is cut short")
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, opened)
    tag, first = -1, True
    while sealed := file.read(PIECE + _MORE):
        try:
            piece, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, sealed, front + more)
        except (RuntimeError, ValueError):
            said = "does not open with this passphrase, or was changed" if first else "was changed"
            raise SetupError(f"the export {said}") from None
        first = False
        yield bytes(piece)
    if tag != _LAST:
        raise SetupError("the export is cut short")
