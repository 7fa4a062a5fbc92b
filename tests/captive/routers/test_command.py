"""``wificrm router``: keys and who is connected; and a box without guests of its own."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import captive.routers.state
from captive.doctor.routers import look_at_routers
from captive.routers.keys import key_path, make_key, read_key
from crm.errors import SetupError
from crm.settings import Settings
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import ThinPortal, thin_portal, thin_settings
from tests.lab.certificates import Authority

TOML = """
secrets = "{folder}/secrets"
state = "{folder}/state"
[portal]
name = "portal.lab"
certificate = "{folder}/portal.pem"
key = "{folder}/portal.key"
[[router]]
name = "hall1"
[[router]]
name = "hall2"
"""


def wificrm(folder: Path, *arguments: str, text: str = TOML) -> subprocess.CompletedProcess[str]:
    config = folder / "wificrm.toml"
    config.write_text(text.format(folder=folder))
    command = [sys.executable, "-m", "captive.cli", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_key_is_made_once_and_printed_with_where_it_goes(tmp_path: Path) -> None:
    done = wificrm(tmp_path, "router", "key", "hall1")
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / "secrets/router-hall1"
    key = path.read_text().strip()
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for option, value in (("name", "hall1"), ("portal", "portal.lab"), ("port", "8445"), ("key", key)):
        assert f"uci set wificrm.thin.{option}='{value}'\n" in done.stdout
    assert wificrm(tmp_path, "router", "key", "hall1").stdout == done.stdout
    renewed = msgspec.json.decode(wificrm(tmp_path, "router", "key", "hall1", "--new", "--json").stdout)
    assert renewed["key"] != key
    assert path.read_text().strip() == renewed["key"]
    assert sorted(each.name for each in path.parent.iterdir()) == ["router-hall1"]


def test_what_cannot_be_done_is_said_with_what_to_do(tmp_path: Path) -> None:
    unknown = wificrm(tmp_path, "router", "key", "hall7")
    assert unknown.returncode == 1
    assert "no [[router]] in the settings is called 'hall7' (there: hall1, hall2)" in unknown.stderr
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/router-hall1").write_text("half a key")
    spoilt = wificrm(tmp_path, "router", "key", "hall1")
    assert spoilt.returncode == 1
    assert "--new makes another" in spoilt.stderr
    listing = wificrm(tmp_path, "router", "list")
    assert listing.returncode == 1
    assert "start it: wificrm serve" in listing.stderr
    assert "Traceback" not in unknown.stderr + spoilt.stderr + listing.stderr


def test_a_key_is_its_folders_owners_and_follows_no_link(tmp_path: Path) -> None:
    """Root makes it, the portal reads it, and cannot have root write elsewhere."""
    folder, elsewhere = tmp_path / "secrets", tmp_path / "elsewhere"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    for name in ("router-hall1", ".router-hall1.new"):
        (folder / name).symlink_to(elsewhere)
    settings = Settings(secrets=str(folder))
    key = make_key(settings, "hall1")
    assert not elsewhere.exists()
    assert read_key(settings, "hall1") == key
    assert key_path(settings, "hall1").stat().st_uid == folder.stat().st_uid
    (folder / "router-hall2").write_text("xyz")
    assert read_key(settings, "hall2") is None
    assert read_key(settings, "hall3") is None


def test_where_no_key_can_be_kept_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="the key cannot be kept there"):
        make_key(Settings(secrets=str(tmp_path / "file" / "secrets")), "hall1")


async def test_the_list_shows_who_is_connected(
    tmp_path: Path, authority: Authority, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captive.routers.state, "WRITE_EVERY", 0.1)
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, phone = portal.router(), portal.phone()
        await router.connect()
        await phone.get(router.enter_path(phone.mac))
        await phone.post("/vi/skip")
        await router.until(lambda: _devices(portal) == {"hall1": 1})
        listing = wificrm(tmp_path, "router", "list")
        assert listing.returncode == 0
        header, one, two = listing.stdout.splitlines()
        assert header.split() == ["ROUTER", "CONNECTED", "SINCE", "(UTC)", "VERSION", "DEVICES"]
        assert one.split()[0] == "hall1"
        assert one.split()[-2:] == ["test-1", "1"]
        assert two.split() == ["hall2", "away", "(it", "has", "no", "key)", "-", "0"]
        assert phone.mac not in listing.stdout
        raw = (tmp_path / "secrets/routers.json").read_text()
        assert phone.mac not in raw
        assert stat.S_IMODE((tmp_path / "secrets/routers.json").stat().st_mode) == 0o600
        listed = msgspec.json.decode(wificrm(tmp_path, "router", "list", "--json").stdout)
        assert [each["connected"] for each in listed["routers"]] == [True, False]
        found = look_at_routers(portal.settings)
        assert [(each.what, each.state) for each in found] == [
            ("router hall1", "ok"),
            ("router hall2", "fault"),
        ]
        assert found[0].detail.endswith("UTC, version test-1; 1 device is online")
        assert found[1].todo == "run as root: wificrm router key hall2"
        (tmp_path / "secrets/routers.json").write_text(raw.replace(f'"pid":{os.getpid()}', '"pid":1'))
        assert wificrm(tmp_path, "router", "list").returncode == 1, "another process has the portal's number"
        (tmp_path / "secrets/routers.json").write_text(raw)
        await router.hang_up()
        await router.until(lambda: _devices(portal) == {})
        away = look_at_routers(portal.settings)[0]
        assert (away.state, away.detail) == ("fault", "away: nobody new comes online there")


def _devices(portal: ThinPortal) -> dict[str, int]:
    states = captive.routers.state.read_states(portal.settings) or {}
    return {name: state.devices for name, state in states.items()}


@pytest.mark.parametrize("verb", ["check", "apply", "print", "remove"])
def test_a_box_that_serves_routers_only_has_no_gateway_to_care_for_and_says_so(
    tmp_path: Path, verb: str
) -> None:
    done = wificrm(tmp_path, "gateway", verb)
    assert (done.returncode, done.stderr) == (0, "")
    assert "this box has no guests of its own" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "wificrm.toml"]


def test_settings_without_a_network_have_none(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    assert thin_settings(tmp_path, pair).networks == ()
