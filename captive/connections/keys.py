"""Keys of the connection log: how they are written down, and the boxes that they seal and open.

X25519 sealed boxes of libsodium (PyNaCl): whoever seals throws the other half of the key away and cannot
read it back. A written key carries a checksum: a mistyped public key would seal the log for nobody.
"""

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from crm.errors import SetupError

PUBLIC, SECRET, LOCKED = "wcl-public-", "wcl-secret-", "wcl-locked-"
SALT = argon2id.SALTBYTES
OPERATIONS, MEMORY = 4, 64 * 1024 * 1024
"""Cost of a passphrase (Argon2id): half a second on a small box, and memory that a small box has."""
LEAST_PASSPHRASE = 12
"""Characters; whoever has the file may try passphrases for years."""
MAX_KEY_FILE = 4096

_HEAD = """# Private key of a Wi-Fi connection log. Whoever holds it reads the log: keep it locked away, off the box.
# Its public half, for the settings (connection_log.public_key):
# {public}
"""


def write_public(key: PublicKey) -> str:
    """*key* as it stands in the settings."""
    return PUBLIC + _with_checksum(bytes(key))


def fingerprint(key: PublicKey) -> str:
    """Sixteen letters by which people tell keys apart."""
    return hashlib.sha256(bytes(key)).hexdigest()[:16]


def find_public(setting: str) -> PublicKey:
    """The public key that *setting* is, or that stands in the file it names. Raises `SetupError`."""
    if setting.startswith((SECRET, LOCKED)):
        raise SetupError(
            "this is a private key; the box must not have it: give the public one (wcl-public-...)"
        )
    text = setting if setting.startswith(PUBLIC) else _line(Path(setting), PUBLIC)
    return PublicKey(_without_checksum(text, PUBLIC, "the public key"))


def make_private(path: Path, passphrase: str) -> PublicKey:
    """Write a new private key to *path* (0600), locked with *passphrase* unless that is empty.

    Returns its public half. Raises `SetupError`; a file that is there is never replaced.
    """
    key = PrivateKey.generate()
    if passphrase:
        salt = os.urandom(SALT)
        locked = salt + SecretBox(stretch(passphrase, salt)).encrypt(bytes(key))
        written = LOCKED + base64.urlsafe_b64encode(locked).decode()
    else:
        written = SECRET + _with_checksum(bytes(key))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SetupError(f"{path}: there is a file already; a key is never replaced, name another") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(_HEAD.format(public=write_public(key.public_key)) + written + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key.public_key


def read_private(path: Path, ask: Callable[[], str]) -> PrivateKey:
    """The private key in the file *path*; *ask* is called for the passphrase of a locked one.

    Raises `SetupError` when it is none, or the passphrase does not fit.
    """
    text = _line(path, SECRET, LOCKED)
    if text.startswith(SECRET):
        return PrivateKey(_without_checksum(text, SECRET, str(path)))
    try:
        locked = base64.urlsafe_b64decode(text.removeprefix(LOCKED))
        return PrivateKey(SecretBox(stretch(ask(), locked[:SALT])).decrypt(locked[SALT:]))
    except (CryptoError, ValueError):
        raise SetupError(f"{path}: the passphrase does not open this key") from None


def check_passphrase(passphrase: str) -> None:
    """Raise `SetupError` when *passphrase* is too short to protect a file."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise SetupError(f"the passphrase must have at least {LEAST_PASSPHRASE} characters")


def stretch(passphrase: str, salt: bytes) -> bytes:
    """A key of 32 bytes out of *passphrase* (Argon2id)."""
    kdf: Callable[..., bytes] = argon2id.kdf
    return kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, opslimit=OPERATIONS, memlimit=MEMORY)


def open_sealed(sealed: bytes, keys: list[PrivateKey]) -> bytes | None:
    """What was sealed for one of *keys*; None when it was for none of them, or was changed."""
    for key in keys:
        try:
            return bytes(SealedBox(key).decrypt(sealed))
        except CryptoError:
            continue
    return None


def _with_checksum(key: bytes) -> str:
    return base64.urlsafe_b64encode(key + _checksum(key)).decode()


def _without_checksum(text: str, prefix: str, what: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(text.strip().removeprefix(prefix))
    except ValueError:
        raw = b""
    key = raw[:32]
    if len(raw) != 36 or raw[32:] != _checksum(key):
        raise SetupError(f"{what} is not whole: copy all of it, from {prefix} to the end")
    return key


def _checksum(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=4, person=b"wificrm key").digest()


def _line(path: Path, *prefixes: str) -> str:
    """The line of the file *path* that is the key."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_KEY_FILE).decode("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SetupError(f"{path}: the key cannot be read: {reason}") from None
    for line in text.splitlines():
        if line.startswith(prefixes):
            return line.strip()
    raise SetupError(f"{path}: there is no key in this file ({' or '.join(prefixes)}...)")
