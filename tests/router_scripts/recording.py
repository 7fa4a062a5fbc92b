"""Stand-ins for programs that would change the machine: they write down what was asked of them."""

import subprocess
from pathlib import Path

SYSTEMCTL = """#!/bin/sh
[ "$1" != is-system-running ] || { echo running; exit 0; }
echo "systemctl $*" >>"%(calls)s"
case "$*" in %(fails)s) exit 1 ;; esac
"""
RECORDS = '#!/bin/sh\necho "${0##*/} $*" >>"%(calls)s"\n'


class Recording:
    """A folder that stands first in PATH, and what its programs were asked."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder, self._calls = folder / "stand-ins", folder / "calls"
        self.folder.mkdir()
        self._calls.touch()
        self.systemctl()
        for name in programs:
            self.program(name, RECORDS % {"calls": self._calls})

    def systemctl(self, *, fails: str = "''") -> None:
        """systemctl on a box that is up; what matches the shell pattern *fails* does not work."""
        self.program("systemctl", SYSTEMCTL % {"calls": self._calls, "fails": fails})

    def program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def forget(self) -> None:
        self._calls.write_text("")

    def run(self, *words: str | Path, text: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": f"{self.folder}:/usr/sbin:/usr/bin:/sbin:/bin", **more},
        )
