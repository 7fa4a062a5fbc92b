"""What shellcheck says of every script that runs on a router."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "router_scripts"
SHELL = sorted(
    path for path in SCRIPTS.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
)


def needs(program: str) -> pytest.MarkDecorator:
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    return pytest.mark.skipif(not found, reason=f"{program} is not installed")


@needs("shellcheck")
@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path: Path):
    done = subprocess.run(["shellcheck", "-x", "-a", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_there_are_scripts_to_check():
    assert len(SHELL) >= 3
