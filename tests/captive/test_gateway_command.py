"""``wificrm gateway`` as it is typed: what is printed, a part alone, the names of old."""

from pathlib import Path

import pytest

from captive.box import box
from captive.cli import parse
from captive.commands import gateway
from captive.kernel import sysctls
from crm.errors import SetupError
from crm.settings import Settings
from tests.captive.golden_cases import CASES, GOLDEN
from tests.captive.small_venue import SmallVenue, needs_root, small_venue

SYSCTLS = """\
net/ipv4/ip_forward = 1
net/ipv6/conf/all/forwarding = 1
net/ipv6/conf/eth0/accept_ra = 2
net/ipv4/neigh/default/gc_thresh1 = 4096
net/ipv4/neigh/default/gc_thresh2 = 8192
net/ipv4/neigh/default/gc_thresh3 = 16384
net/ipv6/neigh/default/gc_thresh1 = 4096
net/ipv6/neigh/default/gc_thresh2 = 8192
net/ipv6/neigh/default/gc_thresh3 = 99999
net/netfilter/nf_conntrack_max = 65536
"""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parameters of a kernel that forwards nothing yet."""
    home = tmp_path / "sys"
    for line in SYSCTLS.splitlines():
        name, _, value = line.partition(" = ")
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("99999" if value == "99999" else "1" if "accept_ra" in name else "0")
    monkeypatch.setattr(sysctls, "HOME", home)
    return home


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "wificrm.toml"
    path.write_text(CASES["both-families"])
    return path


async def printed(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> str:
    assert await gateway.run(parse(["gateway", *words, "--config", str(config)])) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("kernel")
async def test_print_shows_what_was_read_and_agreed(config: Path, capsys: pytest.CaptureFixture[str]):
    table = (GOLDEN / "both-families.nft").read_text()
    dnsmasq = (GOLDEN / "both-families.dnsmasq.conf").read_text()
    assert await printed(capsys, config, "print", "nftables") == table
    assert await printed(capsys, config, "print", "dnsmasq") == dnsmasq
    assert await printed(capsys, config, "print", "sysctl") == SYSCTLS
    assert await printed(capsys, config, "print") == (
        f"# nft -f -\n{table}\n# /run/wificrm/dnsmasq.conf\n{dnsmasq}\n# sysctl -p\n{SYSCTLS}"
    )


def test_a_part_belongs_to_print_and_check(config: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        parse(["gateway", "print", "hostapd"])
    assert ended.value.code == 2
    assert "nftables" in capsys.readouterr().err


async def test_only_print_and_check_take_a_part(config: Path):
    with pytest.raises(SetupError, match="apply is for all parts"):
        await gateway.run(parse(["gateway", "apply", "nftables", "--config", str(config)]))


@pytest.mark.parametrize(("old", "new"), [("up", "apply"), ("down", "remove")])
async def test_units_of_old_find_what_they_call(
    old: str, new: str, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    called: list[Settings] = []
    monkeypatch.setattr(box, new, called.append)
    await gateway.run(parse(["gateway", old, "--config", str(config)]))
    assert len(called) == 1
    with pytest.raises(SystemExit):
        parse(["gateway", "--help"])
    assert "{print,check,apply,remove,watch,status}" in capsys.readouterr().out


@needs_root
@pytest.mark.lab
def test_each_part_is_checked_alone(tmp_path: Path):
    with small_venue(tmp_path / "venue") as venue:
        assert all(checked(venue, part) == "[]\n" for part in ("nftables", "dnsmasq", "sysctl"))
        venue.box.nft("table inet other { chain f { type filter hook forward priority 0; policy drop; }\n}\n")
        assert "chain f of table inet other drops by default" in checked(venue, "nftables")
        assert checked(venue, "dnsmasq") == checked(venue, "sysctl") == "[]\n"
        venue.command("box.apply(settings)")
        assert checked(venue, "sysctl") == "[]\n"
        venue.box.run("sysctl", "-w", "net.ipv4.ip_forward=0")
        said = checked(venue, "sysctl")
        assert "net/ipv4/ip_forward is 0, must be 1: wificrm gateway apply puts it right" in said
        assert said.strip("[]\n") in venue.command("box.check(settings)").stdout


def checked(venue: SmallVenue, part: str) -> str:
    done = venue.command(f"box.check(settings, {part!r})")
    assert done.returncode == 0, done.stderr
    return done.stdout
