"""``wificrm staff``: accounts from the command line."""

import argparse
import io
from pathlib import Path

import pytest

from crm import staff_command
from crm.errors import SetupError
from crm.settings import Settings
from crm.staff import Passwords, insert_staff, list_staff, select_staff_by_name
from crm.store import Store
from tests.console_app import PASSWORD, fill


async def run(store: Store, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    staff_command.add_arguments(parser)
    return await staff_command.run(parser.parse_args(argv), store, Settings())


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / "password").write_text(PASSWORD + "\n", "utf-8")
    return str(tmp_path / "password")


async def test_an_account_is_made_listed_and_removed(
    store: Store, password_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(store)
    made = ("add", "Nam", "--role", "official", "--venue", "DEMO-P01", "--password-file", password_file)
    assert await run(store, *made) == 0
    assert await run(store, "list") == 0
    assert "nam                      official  DEMO-P01\n" in capsys.readouterr().out
    async with store.read() as conn:
        found = await select_staff_by_name(conn, "nam")
    assert found is not None
    assert await Passwords().verify(found[1], PASSWORD)
    assert await run(store, *made) == 2, "the name is taken"
    assert await run(store, "remove", "nam") == 0
    assert await run(store, "remove", "nam") == 1
    assert "there is no account called nam" in capsys.readouterr().err


async def test_a_new_password_replaces_the_old_one(store: Store, password_file: str) -> None:
    async with store.begin() as conn:
        await insert_staff(conn, "mai", await Passwords().hash("the old password"), "manager", None)
    assert await run(store, "password", "mai", "--password-file", password_file) == 0
    async with store.read() as conn:
        found = await select_staff_by_name(conn, "mai")
    assert found is not None
    assert await Passwords().verify(found[1], PASSWORD)
    assert not await Passwords().verify(found[1], "the old password")


async def test_what_cannot_be_kept_is_refused_with_a_sentence(
    store: Store, password_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short"
    short.write_text("short", "utf-8")
    for code, sentence, *argv in (
        (2, "2 to 64 letters", "add", "a b", "--role", "manager", "--password-file", password_file),
        (2, "10 to 200 letters", "add", "mai", "--role", "manager", "--password-file", str(short)),
        (
            1,
            "no centre",
            "add",
            "mai",
            "--role",
            "manager",
            "--venue",
            "NO",
            "--password-file",
            password_file,
        ),
        (1, "no account", "password", "mai", "--password-file", password_file),
    ):
        assert await run(store, *map(str, argv)) == code
        assert sentence in capsys.readouterr().err
    async with store.read() as conn:
        assert await list_staff(conn) == []


async def test_without_a_terminal_or_a_file_it_says_what_to_do(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SetupError, match="--password-file"):
        await run(store, "add", "mai", "--role", "manager")
    with pytest.raises(SetupError, match="cannot be read"):
        await run(store, "add", "mai", "--role", "manager", "--password-file", str(tmp_path / "none"))


@pytest.mark.parametrize(("again", "made"), [(PASSWORD, True), ("something else", False)])
async def test_a_password_is_typed_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch, again: str, made: bool
) -> None:
    typed = [PASSWORD, again]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: typed.pop(0))
    assert await run(store, "add", "mai", "--role", "manager") == (0 if made else 2)
    async with store.read() as conn:
        assert bool(await list_staff(conn)) is made


async def test_no_option_takes_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    staff_command.add_arguments(parser)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["add", "mai", "--role", "manager", "--password=secret"])
    assert stop.value.code == 2
