"""What runs wificrm on an OpenWrt router: init script, hotplug, fw4's include, the program's own wrapper."""

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from captive.advertise.advertiser import ANNOUNCED
from captive.box.applied import MEMORY, Memory
from captive.box.dnsmasq import CONFIGURATION, LEASES, PIDFILE
from captive.box.pool import POOLS
from captive.kernel.ruleset import TABLE
from crm.settings import Settings
from tests.router_scripts.openwrt_router import SCRIPTS, Router, needs_ash

pytestmark = needs_ash

MAIN = "config wificrm 'main'\n\toption enabled '1'\n\toption storage '/mnt/wificrm'\n"
FIREWALL = "usr/share/wificrm/firewall"
RC = """
note() {{ echo "$@" >>{calls}; }}
config_load() {{ :; }}
config_get() {{ eval "$1=\\$(uci -q get wificrm.$2.$3 || echo \\"\\$4\\")"; }}
config_get_bool() {{
    config_get "$@"
    eval "case \\$$1 in 1|on|true|yes|enabled) $1=1 ;; 0|off|false|no|disabled) $1=0 ;; *) $1=\\$4 ;; esac"
}}
for f in procd_open_instance procd_set_param procd_close_instance procd_add_jail procd_add_reload_trigger \\
    procd_add_reload_mount_trigger mkdir chown chmod logger; do
    eval "$f() {{ note $f \\"\\$@\\"; }}"
done
start() {{ start_service; note end of the service; }}
stop() {{ stop_service; note its processes end; }}
"""
"""What /etc/rc.common brings, as recorders."""


def installed(folder: Path, wificrm: str = MAIN + "config network 'guest'\n") -> Router:
    """A router with the libraries in their place and the gateway not up."""
    router = Router(folder, wificrm)
    (router.root / "mnt/wificrm/python").mkdir(parents=True)
    (router.root / "run").mkdir()
    router.recorder("wificrm")
    router.recorder("firewall", router.root / "usr/share/wificrm")
    return router


def service(router: Router, function: str, **environment: str) -> tuple[int, list[str]]:
    rc = router.folder / "rc"
    rc.write_text(RC.format(calls=router.calls))
    done = router.run("-uc", f". {rc}; . {SCRIPTS}/wificrm.init; {function}", **environment)
    assert done.stderr == ""
    return done.returncode, router.said()


def instances(calls: list[str]) -> dict[str, dict[str, str]]:
    """What procd was told of each process."""
    found: dict[str, dict[str, str]] = {}
    for verb, _, rest in (call.partition(" ") for call in calls):
        if verb == "procd_open_instance":
            found[rest] = {}
        elif verb == "procd_set_param":
            key, _, value = rest.partition(" ")
            found[list(found)[-1]][key] = value
        elif verb == "procd_add_jail":
            found[list(found)[-1]]["jail"] = rest
    return found


RUN = "/usr/bin/wificrm"
CONFIG = "--config /etc/config/wificrm"


def test_the_service_starts_table_gate_advertiser_portal_and_watch(tmp_path: Path):
    code, calls = service(installed(tmp_path), "start_service")
    assert code == 0
    up = calls.index(f"wificrm gateway apply {CONFIG}")
    assert calls[up + 1] == "firewall open"
    assert up < calls.index("procd_open_instance portal")
    found = instances(calls)
    assert {name: each["command"] for name, each in found.items()} == {
        "gate": f"{RUN} gate {CONFIG}",
        "advertise": f"{RUN} advertise {CONFIG}",
        "portal": f"{RUN} serve {CONFIG}",
        "watch": f"{RUN} watch {CONFIG}",
        "mend": f"{RUN} gateway watch {CONFIG}",
    }
    assert {name: (each.get("user"), each.get("capabilities")) for name, each in found.items()} == {
        "gate": ("wificrm-gate", "/etc/capabilities/wificrm-gate.json"),
        "advertise": ("wificrm-advertise", "/etc/capabilities/wificrm-raw.json"),
        "portal": ("wificrm", "/etc/capabilities/wificrm.json"),
        "watch": ("wificrm-watch", "/etc/capabilities/wificrm-raw.json"),
        "mend": (None, None),
    }
    for name, each in found.items():
        assert each["file"] == "/etc/config/wificrm", "a reload restarts what read other settings"
        assert each["env"] == "WIFICRM_STORAGE=/mnt/wificrm"
        assert each["respawn"].endswith(" 0"), "procd gives up after so many attempts; 0 is no limit"
        assert name == "mend" or (each["no_new_privs"], each["jail"]) == ("1", each["user"])


def test_the_watch_may_be_left_out(tmp_path: Path):
    words = MAIN.replace("enabled '1'", "enabled 'yes'") + "\toption watch 'off'\n"
    router = installed(tmp_path, words + "config network 'guest'\n")
    assert list(instances(service(router, "start_service")[1])) == ["portal", "gate", "advertise", "mend"]


def test_a_portal_for_routers_elsewhere_is_nobody_s_gateway(tmp_path: Path):
    _, calls = service(installed(tmp_path, MAIN + "config router 'hall2'\n"), "start_service")
    assert list(instances(calls)) == ["portal"]
    assert not [call for call in calls if call.startswith("wificrm gateway")]


def test_run_is_where_the_settings_expect_it(tmp_path: Path):
    router = installed(tmp_path)
    (router.root / "run").rmdir()
    assert service(router, "start_service")[0] == 0
    assert (router.root / "run").readlink() == Path("/var/run")


def test_stopping_shuts_fw4_then_takes_the_table_down(tmp_path: Path):
    router = installed(tmp_path)
    assert service(router, "stop_service")[1] == [], "what is not up is not taken down"
    (router.root / "var/run/wificrm").mkdir()
    (router.root / "var/run/wificrm/gateway.json").touch()
    down = ["firewall close", f"wificrm gateway remove {CONFIG}"]
    assert service(router, "stop_service")[1] == down
    assert service(router, "stop_service", PKG_UPGRADE="1")[1] == down, "an upgrade leaves everybody online"
    router.uci("set", "wificrm.main.enabled=0")
    assert service(router, "reload_service")[1] == [*down, *down, "end of the service"], (
        "which has no processes"
    )


CONFIGURED = str(Path(Settings().state) / CONFIGURATION)


@pytest.mark.parametrize(
    "process", [f"dnsmasq\0--conf-file={CONFIGURED}\0", "dnsmasq\0-C\0/var/etc/theirs\0"]
)
def test_stopping_needs_neither_the_disk_nor_settings_that_can_be_read(tmp_path: Path, process: str):
    """Table, dnsmasq and who has which address stayed until the router was started anew."""
    router = installed(tmp_path)
    why = "wificrm: the libraries are not on '/mnt/wificrm': is the disk there?"
    router.recorder("wificrm", then=f'echo "{why}" >&2; exit 1')
    router.program("uci", "exit 1")
    router.recorder("nft")
    state, changed = router.root / "var/run/wificrm", router.root / "proc/sys/net/ipv4/neigh"
    for folder in (state, changed, router.root / "proc/4711"):
        folder.mkdir(parents=True)
    memory = Memory({"net/ipv4/neigh/gc_thresh1": "128", "net/ipv4/neigh/gc_thresh2": "512"}, settings="f00")
    (state / MEMORY).write_bytes(msgspec.json.encode(memory))
    for name in (CONFIGURATION, PIDFILE, LEASES, POOLS, ANNOUNCED, "another's"):
        (state / name).write_text("4711\n")
    (router.root / "proc/4711/cmdline").write_text(process)
    complaint = "the gateway is taken down by its names, for the program could not: "
    ended = ["kill 4711"] if CONFIGURED in process else []
    assert service(router, "kill() { note kill $@; }; stop_service")[1] == [
        "firewall close",
        f"wificrm gateway remove {CONFIG}",
        f"logger -s -t wificrm -p daemon.err {complaint}{why}",
        *ended,
        "nft list table inet wificrm",
        f"nft delete table inet {TABLE}",
        "nft list table netdev wificrm",
        f"nft delete table netdev {TABLE}",
    ]
    assert [each.name for each in state.iterdir()] == ["another's"]
    assert {each.name: each.read_text() for each in changed.iterdir()} == {
        "gc_thresh1": "128\n",
        "gc_thresh2": "512\n",
    }


def test_without_a_table_nothing_is_started(tmp_path: Path):
    router = installed(tmp_path)
    router.recorder("wificrm", then="echo there is no interface br-guest >&2; exit 1")
    code, calls = service(router, "start_service")
    assert code == 1
    assert list(instances(calls)) == ["again"]
    assert instances(calls)["again"]["command"].startswith(
        "/bin/sh -c sleep 60; ACTION=again exec /etc/hotplug.d/"
    )
    assert "firewall open" not in calls
    assert (
        "logger -s -t wificrm -p daemon.err the gateway was not put up: there is no interface br-guest"
        in calls
    )


def test_new_settings_that_do_not_hold_end_nothing_that_runs(tmp_path: Path):
    router = installed(tmp_path)
    router.recorder("wificrm", then="exit 1")
    assert "end of the service" not in service(router, "reload_service")[1]
    router.recorder("wificrm")
    router.calls.write_text("")
    calls = service(router, "reload_service")[1]
    assert calls[-1] == "end of the service"
    assert "again" not in instances(calls)
    assert calls.count(f"wificrm gateway apply {CONFIG}") == 1, "it takes a second on a router"


def test_settings_that_uci_cannot_read_stop_nothing(tmp_path: Path):
    """A quotation mark forgotten in an editor: everybody would have been thrown out."""
    router = installed(tmp_path)
    service(router, "start_service")
    (router.root / "var/run/wificrm").mkdir()
    (router.root / "var/run/wificrm/gateway.json").touch()
    router.program(
        "uci", "case $* in *-q*) ;; *) echo 'uci: Parse error at line 3, byte 4' >&2 ;; esac; exit 1"
    )
    complaint = "logger -s -t wificrm -p daemon.err nothing is changed, /etc/config/wificrm cannot be read: "
    for function, code in (("reload_service", 1), ("start_service", 0)):
        router.calls.write_text("")
        assert service(router, function) == (code, [f"{complaint}uci: Parse error at line 3, byte 4"])
    assert (router.root / "etc/crontabs/wificrm").exists()
    told = router.run(SCRIPTS / "wificrm", "doctor").stderr
    assert "names no storage, or uci cannot read it: uci show wificrm" in told


def test_a_disk_that_is_not_there_is_told_and_waited_for(tmp_path: Path):
    router = installed(tmp_path)
    (router.root / "mnt/wificrm/python").rmdir()
    code, calls = service(router, "start_service")
    assert code == 0
    assert len(calls) == 1
    assert "the libraries are not on '/mnt/wificrm'" in calls[0]
    for _ in range(2):  # other things change meanwhile
        router.calls.write_text("")
        _, (complaint, last) = service(router, "reload_service")
        assert "the libraries are not on '/mnt/wificrm'" in complaint
        assert last == "end of the service", "stopped, procd would forget that the disk is to wake it"
    router.calls.write_text("")
    assert service(router, "service_triggers")[1] == [
        "procd_add_reload_trigger wificrm network firewall",
        "procd_add_reload_mount_trigger /mnt/wificrm",
    ]


@pytest.mark.parametrize(
    "change", [("enabled '1'", "enabled '0'"), ("'main'", "'main'\n\toption mode 'access-point'")]
)
def test_a_router_that_is_no_gateway_runs_nothing(tmp_path: Path, change: tuple[str, str]):
    router = installed(tmp_path, MAIN.replace(*change))
    assert service(router, "start_service; stop_service")[1] == []
    assert not (router.root / "etc/crontabs/wificrm").exists()


def test_a_backup_every_night_as_long_as_it_takes_part(tmp_path: Path):
    router = installed(tmp_path)
    crontab, nightly = router.root / "etc/crontabs/wificrm", "/usr/share/wificrm/nightly"
    assert service(router, "start_service")[1].count("cron restart") == 1
    line = f"30 3-23 * * * [ ! -x {nightly} ] || WIFICRM_STORAGE='/mnt/wificrm' {nightly}\n"
    assert crontab.read_text() == line
    for function in ("reload_service", "stop_service", "start_service"):
        assert service(router, function)[1].count("cron restart") == 1, "flash is written to once"
    router.uci("set", "wificrm.main.storage=/mnt/other")
    (router.root / "mnt/other/python").mkdir(parents=True)
    assert service(router, "reload_service")[1].count("cron restart") == 2
    assert "/mnt/other" in crontab.read_text()
    (router.root / "mnt/other/python").rmdir()
    service(router, "reload_service")
    assert crontab.exists(), "the disk may come back"
    router.uci("set", "wificrm.main.enabled=0")
    assert service(router, "reload_service")[1].count("cron restart") == 3
    assert not crontab.exists()


def test_a_portal_for_routers_elsewhere_has_its_backup_too(tmp_path: Path):
    router = installed(tmp_path, MAIN + "config router 'hall2'\n")
    service(router, "start_service")
    assert (router.root / "etc/crontabs/wificrm").exists()


class Night:
    """The script that cron runs, on a day of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.router, self.storage = Router(folder / "router", MAIN), folder / "disk"
        (self.storage / "python").mkdir(parents=True)
        self.router.recorder("nice", then='shift 2; shift; wificrm "$@"')
        self.day("2026-11-22")
        self.backup("echo /disk/backups/of-the-day.tar.gz")

    def day(self, text: str) -> None:
        self.router.program("date", f"echo {text}")

    def backup(self, then: str) -> None:
        self.router.recorder("wificrm", then=f'umask >>"{self.router.calls}"; {then}')

    def half_past(self) -> list[str]:
        """What is called at one half hour."""
        self.router.calls.write_text("")
        done = self.router.run(SCRIPTS / "wificrm.nightly", WIFICRM_STORAGE=str(self.storage))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return self.router.said()


def test_the_backup_is_made_once_a_day(tmp_path: Path):
    night = Night(tmp_path)
    assert night.half_past() == [
        "nice -n 10 /usr/bin/wificrm backup",
        "wificrm backup",
        "0077",
        "logger -t wificrm -p daemon.info the backup of the night: /disk/backups/of-the-day.tar.gz",
    ]
    assert night.half_past() == [], "two of a day, laid side by side, tell which answers came in between"
    night.day("2026-11-23")
    assert "wificrm backup" in night.half_past()


def test_a_backup_that_failed_is_told_and_made_up_for(tmp_path: Path):
    night = Night(tmp_path)
    night.backup("echo the disk is full >&2; exit 1")
    for _ in range(2):
        assert night.half_past()[-1] == (
            "logger -t wificrm -p daemon.err there is no backup of this night; tried again in an hour: "
            "the disk is full"
        )
    night.backup("echo well")
    assert night.half_past()[-1].endswith("the backup of the night: well")
    assert night.half_past() == []
    (night.storage / "python").rmdir()
    night.day("2026-11-24")
    assert night.half_past() == [], "without its disk there is nothing to say every hour"


@pytest.mark.parametrize(
    ("name", "capabilities"),
    [("wificrm-gate", ["CAP_NET_ADMIN"]), ("wificrm-raw", ["CAP_NET_RAW"]), ("wificrm", [])],
)
def test_capabilities_are_as_small_as_can_be(name: str, capabilities: list[str]):
    stated = json.loads((SCRIPTS / f"{name}.json").read_text())
    assert stated == dict.fromkeys(
        ("bounding", "effective", "ambient", "permitted", "inheritable"), capabilities
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"ACTION": "ifup", "INTERFACE": "wificrm_guest", "DEVICE": "br-guest"}, True),
        ({"ACTION": "ifup", "INTERFACE": "wan", "DEVICE": "eth1"}, True),
        ({"ACTION": "ifup", "INTERFACE": "lan", "DEVICE": "br-lan"}, False),
        ({"ACTION": "ifup", "INTERFACE": "lan"}, False),
        ({"ACTION": "ifdown", "INTERFACE": "wan", "DEVICE": "eth1"}, False),
        ({"ACTION": "add", "DEVNAME": "sda1", "DISK": "there"}, True),
        ({"ACTION": "add", "DEVNAME": "sdb1"}, False),
        ({"ACTION": "again"}, True),
        ({"ACTION": "remove", "DEVNAME": "sda1", "DISK": "there"}, False),
    ],
)
def test_what_comes_up_has_everything_put_up_again(tmp_path: Path, event: dict[str, str], expected: bool):
    """As new settings have: procd runs it a second after the last of many events, and not what was stopped."""
    router = Router(tmp_path, MAIN + "config uplink 'uplink'\n\toption interface 'eth1'\n")
    if "DISK" in event:
        (router.root / "mnt/wificrm/python").mkdir(parents=True)
    assert router.run(SCRIPTS / "wificrm.hotplug", **event).returncode == 0
    changed = 'ubus call service event { "type": "config.change", "data": { "package": "wificrm" } }'
    assert router.said() == ([changed] if expected else [])


FW4 = """
table inet {table} {{
	include "{nftables}/table.nft"
	chain input {{
		type filter hook input priority filter; policy drop;
		include "{nftables}/input.nft"
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		include "{nftables}/forward.nft"
	}}
}}
"""


@pytest.mark.lab
def test_fw4_lets_guests_to_our_table_only_while_it_is_there(tmp_path: Path):
    router = Router(
        tmp_path,
        MAIN + "config network 'guest'\nconfig network 'desks'\n\toption address4 '192.168.51.1/24'\n",
    )
    assert router.setup("apply").returncode == 0
    inside = ["unshare", "--net"]
    rules, script = tmp_path / "fw4.nft", tmp_path / "walk"
    rules.write_text(FW4.format(table="fw4", nftables=SCRIPTS / "nftables"))
    up = router.root / "var/run/wificrm/gateway.json"
    script.write_text(f"""set -eu
look() {{ nft list set inet fw4 wificrm_guests | tr -d '\\n\\t ' | sed -n 's/.*elements=//p'; }}
nft -f {rules}
sh {SCRIPTS}/wificrm.firewall; echo "not up: $(look)"
mkdir -p {up.parent}; : >{up}
sh {SCRIPTS}/wificrm.firewall; echo "up: $(look)"
nft delete table inet fw4; nft -f {rules}; echo "started anew: $(look)"
sh -c '. {SCRIPTS}/wificrm.firewall'; echo "its include: $(look)"
uci delete network.wificrm_desks
sh {SCRIPTS}/wificrm.firewall; echo "one network less: $(look)"
sh {SCRIPTS}/wificrm.firewall close; echo "closed: $(look)"
nft delete table inet fw4
sh {SCRIPTS}/wificrm.firewall; echo "nobody in the way: $?"
sh {SCRIPTS}/wificrm.firewall close; echo "without fw4"
""")
    path = router.run("-c", 'echo "$PATH"').stdout.strip()
    environment = {"PATH": f"{path}:/usr/sbin:/usr/bin:/sbin", "WIFICRM_ROOT": str(router.root)}
    done = subprocess.run([*inside, "sh", script], capture_output=True, text=True, env=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "not up: ",
        'up: {"br-desks","br-guest"}}}',
        "started anew: ",
        'its include: {"br-desks","br-guest"}}}',
        'one network less: {"br-guest"}}}',
        "closed: ",
        "nobody in the way: 0",
        "without fw4",
    ]


def test_the_program_finds_its_libraries_and_settings(tmp_path: Path):
    storage = tmp_path / "disk"
    router = Router(tmp_path / "router", MAIN.replace("/mnt/wificrm", str(storage)))
    router.program("python3", 'echo "$PYTHONPATH|$PYTHONPYCACHEPREFIX|$WIFICRM_CONFIG|$*"')
    done = router.run(SCRIPTS / "wificrm", "doctor")
    assert done.returncode == 1
    assert "wificrm-setup install gets them" in done.stderr
    (storage / "python").mkdir(parents=True)
    other = router.run(SCRIPTS / "wificrm", "doctor", WIFICRM_STORAGE="/mnt/nowhere")
    assert "the libraries are not on '/mnt/nowhere'" in other.stderr
    assert router.run(SCRIPTS / "wificrm", "staff", "add", "a b").stdout == (
        f"{storage}/python:/usr/lib/wificrm|{storage}/pycache|/etc/config/wificrm|-sP -m captive.cli staff add a b\n"
    )


def test_what_ujail_leaves_of_the_environment_is_enough(tmp_path: Path):
    """Nothing but what it is told to import: the portal could neither make its stores nor write a report.

    Under dash, for Debian's busybox exports a PATH that OpenWrt's does not.
    """
    program = tmp_path / "python/captive/cli.py"
    program.parent.mkdir(parents=True)
    (program.parent / "__init__.py").touch()
    program.write_text("import os, sys\nprint(sys.executable, oct(os.umask(0)))\n")
    for verb, mask in (("serve", "0o77"), ("watch", "0o22")):
        words = ["/bin/sh", str(SCRIPTS / "wificrm"), verb]
        around = {"container": "ujail", "WIFICRM_STORAGE": str(tmp_path)}
        done = subprocess.run(words, env=around, umask=0o022, capture_output=True, text=True, check=True)
        assert re.fullmatch(rf"/\S*/python3\S* {mask}\n", done.stdout), "stores are for the portal alone"
