"""``wificrm demo`` as a newcomer meets it: one command, two addresses, an account, a year of data."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.captive.portal_app import TOKEN
from tests.free_ports import free_port

ADDRESSES = re.compile(r"Guest portal +(\S+)\n +Staff pages +(\S+) +name: (\S+) +password: (\S+)")


@contextlib.contextmanager
def demo(folder: Path) -> Iterator[re.Match[str]]:
    """Run the demo until the context ends; yields what it printed, as (portal, staff, name, password)."""
    command = [sys.executable, "-m", "captive.cli", "demo", "--port", str(free_port()), "--data", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = ""
        while not (found := ADDRESSES.search(printed)):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            printed += line
        try:
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            told = process.communicate(timeout=60)
            assert process.returncode == 0, told
            assert "Traceback" not in told[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


async def test_a_newcomer_plays_the_phone_and_reads_the_report(folder: Path) -> None:
    with demo(folder) as printed:
        portal, staff, name, password = printed.groups()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            probe = await browser.get(
                portal + "hotspot-detect.html", headers={"Host": "captive.apple.com"}, allow_redirects=False
            )
            assert (probe.status, probe.headers["Location"]) == (302, portal)

            page = await (await browser.get(portal + "en")).text()
            assert "Beware of" in page or "announcements" in page
            token = TOKEN.search(page)
            assert token is not None
            online = await browser.post(portal + "en/skip", data={"r": token.group(1)})
            assert "You are online" in await online.text()
            again = await browser.post(portal + "en/another-phone", data={"r": ""})
            assert "Have you been served" in await again.text()

            signing_in = await (await browser.get(staff)).text()
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', signing_in))
            report = await browser.post(
                staff + "sign-in", data={**fields, "name": name, "password": password}
            )
            text = await report.text()
            assert report.status == 200, text
            assert report.url.path == "/reports"
            assert "Phum Sen" in text


def test_the_second_run_finds_everything_and_the_same_account(folder: Path) -> None:
    with demo(folder) as first:
        pass
    size = (folder / "crm.db").stat().st_size
    with demo(folder) as second:
        assert first.group(4) == second.group(4)
    assert (folder / "crm.db").stat().st_size == size


def test_a_port_that_is_taken_is_told(folder: Path) -> None:
    with demo(folder) as printed:
        port = printed.group(1).rstrip("/").rpartition(":")[2]
        told = subprocess.run(
            [sys.executable, "-m", "captive.cli", "demo", "--port", port, "--data", str(folder)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert told.returncode == 1
    assert "portal.port" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = subprocess.run(
        [sys.executable, "-m", "captive.cli", "demo", "--data", str(tmp_path / "file/below")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "--data" in told.stderr
