"""The gate's socket: who may speak through it, and that nobody else listens there."""

import asyncio
import contextlib
import grp
import os
import socket
import stat
import struct
from pathlib import Path

import msgspec
import structlog

from captive.gateway import Answer
from crm.errors import SetupError

log = structlog.get_logger()

MAX_CLIENTS = 16
SO_PEERGROUPS = 59
"""Linux 4.13: the groups of the process at the other end."""


def refusal_of(connection: socket.socket, group: int | None) -> str:
    """Why the process at the other end may not speak to us; empty for root, ourselves and *group*."""
    _, uid, gid = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid in (0, os.geteuid()):
        return ""
    groups = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1_024)
    if group in (gid, *struct.unpack(f"={len(groups) // 4}I", groups)):
        return ""
    return "only root and members of gate.group may speak to the gate"


def group_id(name: str) -> int | None:
    """The number of the group *name*; None, with a warning, when there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        log.warning("there is no such group: only root can speak to the gate", group=name)
        return None


def listen(path: str, group: int | None) -> socket.socket:
    """A listening socket at *path* for root and *group*. Raises `SetupError`."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(path) == 0:
            raise SetupError(f"{path}: another gate listens there; stop it first")
    listener = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(Path(path).lstat().st_mode):  # left behind by a gate that was killed
                Path(path).unlink()
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        if group is not None:
            os.chown(path, -1, group)
            Path(path).chmod(0o660)
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        raise SetupError(f"{path}: the gate cannot listen there: {error.strerror}") from None
    return listener


async def say(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Send *answer*, a line of its own."""
    writer.write(msgspec.json.encode(answer) + b"\n")
    await writer.drain()
