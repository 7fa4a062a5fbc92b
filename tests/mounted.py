"""Mounts that last as long as their test: also when the whole run is killed, for they would outlive its files."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CARETAKER = """
folder=$1; shift
mount "$@" "$folder" || exit
echo mounted
while read -r group; do last=$group; done
[ -z "$last" ] || kill -9 "-$last"
umount "$folder" || { umount -l "$folder"; exit 1; }
"""


class Mount:
    """*options* of mount(8) on *folder*. Raises `subprocess.CalledProcessError` when there is no such thing to mount.

    A process in a session of its own sees to its end: it hears that this one closed it or died.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        command = ["sh", "-c", _CARETAKER, "sh", str(folder), *options]
        self._caretaker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._caretaker.stdout is not None
        if not self._caretaker.stdout.readline():
            self.close()

    def ends_with(self, group: int | None) -> None:
        """The processes of *group*, the last that was named here, are killed before it goes."""
        assert self._caretaker.stdin is not None
        self._caretaker.stdin.write(f"{group or ''}\n")
        self._caretaker.stdin.flush()

    def close(self) -> None:
        """Take it away. Raises `subprocess.CalledProcessError` when something in it was still in use."""
        self._caretaker.communicate(timeout=60)
        if self._caretaker.returncode:
            raise subprocess.CalledProcessError(self._caretaker.returncode, self._caretaker.args)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """*folder* with that mounted on it."""
    mount = Mount(folder, *options)
    try:
        yield folder
    finally:
        mount.close()
