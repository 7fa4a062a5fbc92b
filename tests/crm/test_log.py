"""The log says where and what kind, never who and what."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from crm.errors import SetupError
from crm.log import start_log

SECRET = "192.168.50.77 typed 0912345678"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:], root.level = before, level
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


def test_a_library_is_heard_without_what_it_puts_in(capsys: pytest.CaptureFixture[str]) -> None:
    start_log("debug")
    library = logging.getLogger("aiohttp.server")
    try:
        raise ValueError(SECRET)
    except ValueError:
        library.exception("Error handling request from %s", SECRET)
    library.error("first line\n%s", SECRET)
    library.info("not heard")
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "level='error' event='Error handling request from %s' library='aiohttp.server' error='ValueError'",
        "level='error' event='first line' library='aiohttp.server'",
    ]


def test_our_own_errors_show_code_but_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    start_log("info")
    try:
        int(SECRET)
    except ValueError:
        structlog.get_logger().exception("a page failed", page="/{language}")
    said = capsys.readouterr().err
    assert "level='error' event='a page failed' page='/{language}'" in said
    assert "int(SECRET)" in said
    assert "ValueError" in said
    assert SECRET not in said


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    start_log("warning")
    structlog.get_logger().info("not heard")
    structlog.get_logger().warning("heard", reason="why")
    assert capsys.readouterr().err == "level='warning' event='heard' reason='why'\n"


def test_json_has_one_object_a_line_with_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    start_log("info", "json")
    structlog.get_logger().warning("heard", reason="two\nlines", seconds=1.5, of=SetupError)
    try:
        int(SECRET)
    except ValueError:
        structlog.get_logger().exception("a page failed", page="/{language}")
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", SECRET)
    said = capsys.readouterr().err
    assert SECRET not in said
    first, failed, library = (json.loads(line) for line in said.splitlines())
    assert list(first) == ["level", "event", "reason", "seconds", "of"]
    assert (first["reason"], first["seconds"]) == ("two\nlines", 1.5)
    assert failed["event"] == "a page failed"
    assert failed["exception"].endswith("ValueError")
    assert library == {
        "level": "error",
        "event": "Error handling request from %s",
        "library": "aiohttp.server",
        "error": "ValueError",
    }


SAYS = "import sys, threading; from crm.log import start_log; start_log('info', 'json')\n"
NOBODY_CATCHES = {
    "at the end": "raise KeyError(sys.argv[1])",
    "in a thread": "t = threading.Thread(target=lambda: {}[sys.argv[1]]); t.start(); t.join()",
    "where nothing can be raised": "class C:\n def __del__(self): raise KeyError(sys.argv[1])\nC()",
}


@pytest.mark.parametrize("where", NOBODY_CATCHES)
def test_what_nobody_catches_shows_code_but_no_words(where: str) -> None:
    command = [sys.executable, "-c", SAYS + NOBODY_CATCHES[where], SECRET]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    [line] = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["level"], said["event"]) == ("error", "an error that nobody caught")
    assert said["exception"].endswith("KeyError")
    assert SECRET not in done.stderr
    assert done.returncode == (where == "at the end")


LOOP = """import asyncio, functools, uvloop
class Device:
    __repr__ = lambda self: sys.argv[1]
    def leave(self): raise KeyError
def leave(device): raise KeyError
for make in (uvloop.new_event_loop, asyncio.new_event_loop):
    loop = make()
    for call in (Device().leave, functools.partial(leave, sys.argv[1])):
        loop.call_soon(call)
    loop.call_soon(leave, sys.argv[1])
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
import warnings
warnings.warn(sys.argv[1])
"""


def test_what_loops_and_warnings_put_in_themselves_is_not_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYS + LOOP, SECRET], capture_output=True, text=True, check=True
    )
    *calls, warning = map(json.loads, done.stderr.splitlines())
    assert len(calls) == 6
    assert all(each["event"].startswith("Exception in callback") for each in calls)
    assert {each["error"] for each in calls} == {"KeyError"}
    assert (warning["level"], warning["event"], warning["kind"]) == ("warning", "Python warns", "UserWarning")
    assert SECRET not in done.stderr


def test_a_line_that_cannot_be_written_or_is_no_text_harms_nobody() -> None:
    script = SAYS + (
        "import os, structlog\nlog = structlog.get_logger()\n"
        "log.info('a file', file='caf\\udce9')\n"
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\nlog.error('nobody reads this'); print('served')\n"
        "os.dup2(os.open('/dev/null', os.O_WRONLY), 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "served\n"
    assert json.loads(done.stderr) == {"level": "info", "event": "a file", "file": "'caf\\udce9'"}
