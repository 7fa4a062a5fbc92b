"""The OpenWrt scripts under the shell that OpenWrt has, with stand-ins that remember what was asked of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "router_scripts" / "openwrt"
ASH = shutil.which("busybox")
pytestmark = pytest.mark.skipif(not ASH, reason="busybox is not installed: apt-get install busybox")

UCI = '''#!{python}
"""uci, as far as the scripts use it: sections and options in a JSON file."""
import json, sys
path, words = "{store}", [w for w in sys.argv[1:] if w != "-q"]
with open(path) as file:
    store = json.load(file)
verb, rest = words[0], words[1:]
if verb == "show":
    for section, options in store.items():
        if section.split(".")[0] == rest[0]:
            print(section + "=" + options[".type"])
            for name, value in options.items():
                if name != ".type":
                    print(section + "." + name + "='" + str(value) + "'")
elif verb == "get":
    section, _, name = rest[0].rpartition(".")
    if name not in store.get(section, {{}}):
        sys.exit(1)
    print(store[section][name])
elif verb == "delete":
    section, _, name = rest[0].rpartition(".")
    if rest[0] in store:
        del store[rest[0]]
    elif name in store.get(section, {{}}):
        del store[section][name]
    else:
        sys.exit(1)
elif verb in ("set", "add_list", "del_list"):
    key, value = rest[0].split("=", 1)
    section, _, name = key.rpartition(".")
    if verb == "set" and section.count(".") == 0 and key.count(".") == 1:
        store.setdefault(key, {{}})[".type"] = value
    elif verb == "set":
        store[section][name] = value
    else:
        values = store[section].setdefault(name, [])
        if verb == "add_list":
            values.append(value)
        elif value in values:
            values.remove(value)
        if not values:
            del store[section][name]
elif verb == "commit":
    store.setdefault(".committed", {{".type": ""}})[rest[0]] = "yes"
with open(path, "w") as file:
    json.dump(store, file)
'''

ROUTER = {
    "network.lan": {".type": "interface", "proto": "static"},
    "wireless.radio0": {".type": "wifi-device", "band": "2g", "disabled": "1"},
    "wireless.radio1": {".type": "wifi-device", "band": "5g"},
    "wireless.default_radio0": {".type": "wifi-iface", "device": "radio0", "ssid": "Office"},
    "dhcp.@dnsmasq[0]": {".type": "dnsmasq", "notinterface": ["tun0"]},
    "firewall.@zone[0]": {".type": "zone", "name": "lan"},
}


class Router:
    def __init__(self, folder: Path, **options: str) -> None:
        self.folder, self.store = folder, folder / "uci.json"
        self.calls = folder / "calls"
        self.calls.touch()
        (folder / "bin").mkdir()
        self.program("uci", UCI.format(python=sys.executable, store=self.store))
        for name in ("group", "passwd"):
            (folder / name).write_text("root:x:0:0:root:/root:/bin/ash\n")
        (folder / "rc").write_text(RC.format(calls=self.calls, store=self.store))
        self.store.write_text(json.dumps({**ROUTER, "wificrm.main": {".type": "wificrm", **options}}))

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "WIFICRM_ETC": str(self.folder),
            "WIFICRM_LIBEXEC": str(SCRIPTS),
        }
        return subprocess.run(
            [str(ASH), "ash", *words], capture_output=True, text=True, check=False, env=environment
        )

    def setup(self, verb: str) -> subprocess.CompletedProcess[str]:
        return self.run(SCRIPTS / "wificrm-setup", verb)

    @property
    def uci(self) -> dict[str, dict[str, object]]:
        return json.loads(self.store.read_text())  # type: ignore[no-any-return]

    @property
    def untouched(self) -> dict[str, dict[str, object]]:
        return {
            name: options for name, options in self.uci.items() if "wificrm" not in name and name[0] != "."
        }


RC = """
note() {{ echo "$@" >>{calls}; }}
config_load() {{ :; }}
config_get() {{ eval "$1=\\$(uci -q get wificrm.$2.$3 || echo \\"\\$4\\")"; }}
config_get_bool() {{ config_get "$@"; }}
for f in procd_open_instance procd_set_param procd_close_instance procd_add_jail procd_add_reload_trigger \\
    mkdir chown chmod reload_config; do
    eval "$f() {{ note $f \\"\\$@\\"; }}"
done
start() {{ start_service; }}
"""


def test_an_access_point_carries_the_wifi_to_the_port(tmp_path: Path):
    router = Router(tmp_path, enabled="1", port="lan4.20", ssid="Cổng Wi-Fi")
    done = router.setup("apply")
    assert (done.returncode, done.stderr) == (0, "")
    uci = router.uci
    assert uci["network.wificrm_bridge"]["ports"] == ["lan4.20"]
    assert uci["network.wificrm_guest"] == {".type": "interface", "device": "br-guest", "proto": "none"}
    for radio in ("radio0", "radio1"):
        wifi = uci[f"wireless.wificrm_{radio}"]
        assert wifi["ssid"] == "Cổng Wi-Fi"
        assert (wifi["encryption"], wifi["isolate"], wifi["network"]) == ("none", "1", "wificrm_guest")
    assert "disabled" not in uci["wireless.radio0"]
    assert not [name for name in uci if name.startswith(("firewall.wificrm", "dhcp.wificrm"))]
    assert set(uci[".committed"]) >= {"network", "wireless", "dhcp", "firewall"}


def test_a_gateway_gets_its_address_and_leaves_dhcp_to_wificrm(tmp_path: Path):
    router = Router(tmp_path, enabled="1", mode="gateway", address6="fd50::1/64")
    assert router.setup("apply").returncode == 0
    uci = router.uci
    assert uci["network.wificrm_guest"]["ipaddr"] == "192.168.50.1/24"
    assert uci["network.wificrm_guest"]["ip6addr"] == "fd50::1/64"
    assert uci["dhcp.wificrm_guest"]["ignore"] == "1"
    assert uci["dhcp.@dnsmasq[0]"]["notinterface"] == ["tun0", "br-guest"]
    assert uci["firewall.wificrm_guest"]["network"] == ["wificrm_guest"]
    assert (uci["firewall.wificrm_way"]["src"], uci["firewall.wificrm_way"]["dest"]) == ("guest", "wan")
    assert "ports" not in uci["network.wificrm_bridge"]


@pytest.mark.parametrize("mode", ["access-point", "gateway"])
def test_twice_is_once_and_removing_leaves_what_was_there(tmp_path: Path, mode: str):
    router = Router(tmp_path, enabled="1", mode=mode, port="lan4")
    before = router.untouched
    router.setup("apply")
    once = router.uci
    router.setup("apply")
    assert router.uci == once
    router.setup("remove")
    assert [name for name in router.uci if ".wificrm" in name] == []
    before["wireless.radio0"].pop("disabled")  # a radio that was switched on stays on
    assert router.untouched == before
    assert router.setup("remove").returncode == 0


def test_an_unknown_mode_is_told_and_changes_nothing(tmp_path: Path):
    router = Router(tmp_path, enabled="1", mode="repeater")
    before = router.uci
    done = router.setup("apply")
    assert done.returncode == 1
    assert "expected access-point or gateway" in done.stderr
    assert router.uci == before


def test_the_first_boot_makes_the_users_once(tmp_path: Path):
    router = Router(tmp_path, enabled="1")
    for _ in range(2):
        assert router.run(SCRIPTS / "90-wificrm").returncode == 0
    users = (tmp_path / "passwd").read_text()
    assert users.count("wificrm:x:5300:5300:") == 1
    assert users.count("wificrm-gate:x:5301:5300:") == 1
    assert users.count("wificrm-advertise:x:5302:5300:") == 1
    assert (tmp_path / "group").read_text().count("wificrm:x:5300:") == 1
    assert "network.wificrm_bridge" in router.uci


def test_the_first_boot_of_a_router_that_takes_no_part_changes_nothing(tmp_path: Path):
    router = Router(tmp_path, enabled="0")
    before = router.uci
    assert router.run(SCRIPTS / "90-wificrm").returncode == 0
    assert router.uci == before
    assert "wificrm" not in (tmp_path / "passwd").read_text()


def service(router: Router, function: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    router.program("wificrm", f'#!/bin/sh\necho wificrm "$@" >>{router.calls}\n')
    script = f". {router.folder}/rc; . {SCRIPTS}/wificrm.init; {function}"
    done = router.run("-euc", script)
    return done, router.calls.read_text().splitlines()


def test_the_service_starts_table_gate_advertiser_and_portal(tmp_path: Path):
    router = Router(
        tmp_path, enabled="1", mode="gateway", program=f"{tmp_path}/bin/wificrm", settings="/s.toml"
    )
    done, calls = service(router, "start_service")
    assert (done.returncode, done.stderr) == (0, "")
    up = calls.index("wificrm gateway apply --config /s.toml")
    gate = calls.index(f"procd_set_param command {tmp_path}/bin/wificrm gate --config /s.toml")
    advertise = calls.index(f"procd_set_param command {tmp_path}/bin/wificrm advertise --config /s.toml")
    portal = next(number for number, call in enumerate(calls) if "serve --config" in call)
    mend = calls.index(f"procd_set_param command {tmp_path}/bin/wificrm gateway watch --config /s.toml")
    assert up < gate < advertise < portal < mend
    assert calls[portal].endswith(f"{tmp_path}/bin/wificrm serve --config /s.toml")
    assert "procd_set_param user wificrm-gate" in calls[gate:advertise]
    assert "procd_set_param capabilities /etc/capabilities/wificrm-gate.json" in calls[gate:advertise]
    assert "procd_set_param user wificrm-advertise" in calls[advertise:portal]
    assert "procd_set_param capabilities /etc/capabilities/wificrm-advertise.json" in calls[advertise:portal]
    assert "procd_set_param user wificrm" in calls[portal:mend]
    assert "procd_set_param capabilities /etc/capabilities/wificrm.json" in calls[portal:mend]
    assert calls.count("procd_set_param no_new_privs 1") == 3
    assert calls.count("procd_set_param file /s.toml") == 4, "a reload restarts what read other settings"


def test_stopping_takes_the_table_down(tmp_path: Path):
    router = Router(
        tmp_path, enabled="1", mode="gateway", program=f"{tmp_path}/bin/wificrm", settings="/s.toml"
    )
    assert service(router, "stop_service")[1] == ["wificrm gateway remove --config /s.toml"]


def test_without_a_table_nothing_is_started(tmp_path: Path):
    router = Router(tmp_path, enabled="1", mode="gateway", program="/bin/false")
    done, calls = service(router, "start_service")
    assert done.returncode != 0
    assert not [call for call in calls if call.startswith("procd")]


@pytest.mark.parametrize("options", [{"enabled": "0", "mode": "gateway"}, {"enabled": "1"}, {}])
def test_a_router_that_is_no_gateway_runs_nothing(tmp_path: Path, options: dict[str, str]):
    router = Router(tmp_path, **options)
    assert service(router, "start_service; stop_service")[1] == []


def test_it_is_looked_at_again_when_network_or_firewall_change(tmp_path: Path):
    assert service(Router(tmp_path), "service_triggers")[1] == [
        "procd_add_reload_trigger wificrm network firewall"
    ]


@pytest.mark.parametrize(
    ("name", "capabilities"),
    [("wificrm-gate", ["CAP_NET_ADMIN"]), ("wificrm-advertise", ["CAP_NET_RAW"]), ("wificrm", [])],
)
def test_capabilities_are_as_small_as_can_be(name: str, capabilities: list[str]):
    stated = json.loads((SCRIPTS / f"{name}.json").read_text())
    assert stated == dict.fromkeys(
        ("bounding", "effective", "ambient", "permitted", "inheritable"), capabilities
    )
