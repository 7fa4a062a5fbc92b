"""The command line as a new user meets it: help worth reading, errors in words, exit codes."""

import contextlib
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from captive.cli import main
from crm.version import VERSION
from tests.free_ports import free_port

COMMANDS = (
    "demo",
    "serve",
    "gate",
    "gateway",
    "migrate",
    "report",
    "doctor",
    "announcement",
    "staff",
    "device",
    "connections",
)


def wificrm(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "captive.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "wificrm.toml"
    file.write_text(
        f'state = "{tmp_path}/run"\nsecrets = "{tmp_path}/secrets"\n'
        f'[portal]\nport = {free_port()}\n[gate]\ngateway = "open"\n'
        f'[store]\ncrm = "{tmp_path}/data/crm.db"\naccess = "{tmp_path}/data/access.db"\n'
    )
    return file


def test_help_names_every_command_and_each_explains_itself() -> None:
    told = wificrm("--help")
    assert told.returncode == 0
    for command in COMMANDS:
        assert command in told.stdout
        with contextlib.redirect_stdout(io.StringIO()) as own, pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert len(own.getvalue()) > 150, command


def test_the_release_is_told() -> None:
    told = wificrm("--version")
    assert (told.returncode, told.stdout) == (0, f"wificrm {VERSION}\n")


def test_no_command_is_wrong_usage() -> None:
    assert wificrm().returncode == 2
    assert wificrm("fly").returncode == 2
    assert wificrm("demo", "--port", "99999").returncode == 2


@pytest.mark.parametrize("command", ["serve", "gate", "migrate", "doctor"])
def test_a_missing_settings_file_says_what_to_do(command: str) -> None:
    told = wificrm(command, "--config", "/nonexistent.toml")
    assert told.returncode == 1
    assert "wificrm.example.toml" in told.stderr


def test_a_broken_settings_file_is_told_with_its_line(config: Path) -> None:
    config.write_text("[portal]\n\nport = 'x'\n")
    told = wificrm("serve", "--config", config)
    assert told.returncode == 1
    assert f"{config}:3: portal.port:" in told.stderr


def test_serving_with_a_store_of_a_newer_release_is_refused(config: Path) -> None:
    wificrm("migrate", "--config", config)
    store = config.parent / "data/crm.db"
    with contextlib.closing(sqlite3.connect(store)) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
        newer.commit()
    told = wificrm("serve", "--config", config)
    assert told.returncode == 1
    assert "of a newer wificrm" in told.stderr
    assert list(store.parent.glob("crm.db.broken-*")) == []


def test_migrating_is_harmless_twice(config: Path) -> None:
    for _ in range(2):
        told = wificrm("migrate", "--config", config)
        assert (told.returncode, told.stdout) == (0, "both stores are up to date\n")


def test_doctor_tells_faults_by_its_exit_code(config: Path) -> None:
    wificrm("migrate", "--config", config)
    told = wificrm("doctor", "--config", config)
    assert told.returncode == 1, "no portal runs"
    assert "crm store: readable" in told.stdout
    assert "FAULT    portal: no answer" in told.stdout
    assert wificrm("doctor", "--config", config, "--json").stdout.startswith("[{")


def test_a_damaged_store_is_told(config: Path) -> None:
    wificrm("migrate", "--config", config)
    store = config.parent / "data/crm.db"
    store.write_bytes(b"not a database" * 500)
    for command in ("migrate", "doctor"):
        told = wificrm(command, "--config", config)
        assert told.returncode == 1, command


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--venue", "V", "--from", "2026-13-01", "--to", "2026-01-31"], "is not a day such as"),
        (["--venue", "V", "--from", "2026-02-01", "--to", "2026-01-31"], "swap them"),
        (["--from", "2026-02-01", "--to", "2026-02-28"], "--venue"),
    ],
)
def test_a_report_that_cannot_be_is_told(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    told = wificrm("report", "--data", tmp_path, *arguments, "--format", "csv", "-o", tmp_path / "r.csv")
    assert told.returncode in (1, 2)
    assert complaint in told.stderr
    assert not (tmp_path / "r.csv").exists()


def test_a_folder_without_a_store_is_told(tmp_path: Path) -> None:
    told = wificrm(
        "report",
        "--data",
        tmp_path,
        "--venue",
        "V",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-31",
        "--format",
        "csv",
        "-o",
        "x",
    )
    assert told.returncode == 1
    assert "wificrm demo" in told.stderr


def test_ctrl_c_while_a_command_is_still_read_is_no_traceback(monkeypatch: pytest.MonkeyPatch):
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("captive.cli.import_module", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 130
