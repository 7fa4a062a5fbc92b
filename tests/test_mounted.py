"""What a test mounted is gone after it, also when its run was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mounted import Mount, mounted
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts: needs root")

_RUN = """
import os, subprocess, sys, time
from pathlib import Path
from tests.mounted import Mount
mount = Mount(Path(sys.argv[1]), "-t", "tmpfs", "none")
(Path(sys.argv[1]) / "file").touch()
inside = subprocess.Popen(["sleep", "1000"], cwd=sys.argv[1], start_new_session=True)
mount.ends_with(inside.pid)
print(inside.pid, flush=True)
time.sleep(1000)
"""


async def test_a_killed_run_leaves_no_mount_and_nothing_that_ran_in_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _RUN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as run:
        assert run.stdout is not None
        inside = int(run.stdout.readline())
        assert tmp_path.is_mount()
        os.killpg(run.pid, signal.SIGKILL)
    await until(lambda: not tmp_path.is_mount())
    assert list(tmp_path.iterdir()) == []
    await until(lambda: not Path(f"/proc/{inside}/cwd").exists())


def test_what_cannot_be_mounted_is_told(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError), mounted(tmp_path, "-t", "no-such-kind", "none"):
        pytest.fail("was not mounted")


def test_what_is_still_in_use_is_told_and_goes_all_the_same(tmp_path: Path) -> None:
    mount = Mount(tmp_path, "-t", "tmpfs", "none")
    with (tmp_path / "file").open("w"), pytest.raises(subprocess.CalledProcessError):
        mount.close()
    assert not tmp_path.is_mount()
