"""Settings in UCI: the same keys, defaults and complaints as in wificrm.toml."""

import re
import subprocess
import sys
import zoneinfo
from pathlib import Path

import msgspec
import pytest

from crm.errors import SetupError
from crm.settings import Grant, Settings
from crm.settings_file import load_settings, parse_settings
from crm.uci import BOOLEANS, ROUTERS_OWN, WORDS, is_uci
from tests.crm.test_settings import every_key

CONFIG = Path(__file__).parents[2] / "router_scripts/openwrt/wificrm.config"
STORAGE = "config wificrm 'main'\n\toption storage '/mnt/wificrm'\n"
GUEST = "config network 'guest'\n"
ON_DISK = {
    "secrets": "/mnt/sda1/wificrm/secrets",
    "store": {"crm": "/mnt/sda1/wificrm/crm.db", "access": "/mnt/sda1/wificrm/access.db"},
    "connection_log": {"path": "/mnt/sda1/wificrm/connections.db"},
    "backup": {"folder": "/mnt/sda1/wificrm/backups"},
}


def uncommented() -> str:
    """The file that the package brings, with all that is commented out but the examples of places."""
    text = CONFIG.read_text("utf-8")
    before, _, example = text.partition("\t# And every option of grant")
    return re.sub(r"(?m)^\t#(?=option |list )", "\t", before + example[example.index("config portal") :])


def on_disk(settings: Settings) -> Settings:

    raw = msgspec.to_builtins(settings)
    for name, value in ON_DISK.items():
        raw[name] = raw[name] | value if isinstance(value, dict) else value
    return msgspec.convert(raw, Settings)


def test_the_package_s_file_is_the_defaults_and_has_every_key() -> None:
    everything = uncommented()
    assert parse_settings(everything) == on_disk(Settings())
    said = set()
    for section in everything.split("\nconfig ")[1:]:
        kind = section.split()[0]
        said |= {f"{kind}.{key}" for key in re.findall(r"(?m)^\t(?:option|list) (\w+)", section)}
    said -= {f"{kind}.{key}" for kind, keys in ROUTERS_OWN.items() for key in keys}
    said -= {key for key in said if key.startswith("wificrm.")}
    said = {re.sub(r"^venue\.name_\w+", "venue.names", key) for key in said}
    # The section's name, terms among the options, and what is the same on every OpenWrt.
    assert said == every_key() - {"network.name", "network.grant", "state", "secrets"}


def test_with_nothing_changed_but_the_storage_it_is_the_defaults() -> None:
    text = CONFIG.read_text("utf-8").replace("#option storage", "option storage")
    assert parse_settings(text) == on_disk(Settings())


def test_without_storage_it_says_what_to_do() -> None:
    with pytest.raises(SetupError, match=r"/etc/x: wificrm\.main\.storage: name the folder on a disk"):
        parse_settings(CONFIG.read_text("utf-8"), "/etc/x")


VENUE = (
    STORAGE
    + """
config venue 'venue'
	option name_vi "Phường 'Bến Đò'"
	option name_km 'ok'
	list languages 'vi'
config grant
	option minutes '60'
	list opening 'mon-fri 07:30-17:00'
	list opening 'sat 08:00-11:30'
config network 'guest'
	list ssid 'A b'
	option owe '1'
config network 'desks'
	option address4 '192.168.51.1/24'
	option address6 'none'
	option minutes '30'
	list opening 'none'
	list walled_garden 'a.example'
	list walled_garden 'b.example'
	list radio 'radio0'
config thin 'thin'
	option enabled '1'
config connection_log
	option enabled '0'
"""
)


def test_places_have_terms_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "wificrm"
    file.write_text(VENUE)
    settings = load_settings(file)
    guest, desks = settings.networks
    assert settings.venue.names == {"vi": "Phường 'Bến Đò'", "km": "ok"}
    assert (guest.name, guest.interface, guest.grant.minutes) == ("guest", "br-guest", 60)
    assert guest.grant.opening == ("mon-fri 07:30-17:00", "sat 08:00-11:30")
    assert (desks.name, desks.interface, desks.address6) == ("desks", "br-desks", "")
    assert desks.grant == Grant(minutes=30)
    assert desks.walled_garden == ("a.example", "b.example")
    assert settings.store.crm == "/mnt/wificrm/crm.db"


def test_routers_elsewhere(tmp_path: Path) -> None:
    text = (
        STORAGE + "config portal\n\toption name 'p.example'\n\toption certificate '/c'\n\toption key '/k'\n"
    )
    settings = parse_settings(text + "config router 'hall2'\n\toption up_mb '5'\n")
    assert [(each.name, each.grant.up_mb) for each in settings.routers] == [("hall2", 5)]
    assert settings.networks == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "config portal\n\toption prot '1'\n",
            "x:4: wificrm.@portal[0].prot: there is no such setting; /usr/share/",
        ),
        ("config prtal 'p'\n", "x:3: wificrm.p: there is no such setting"),
        (
            "config portal 'portal'\n\n\toption port 'http'\n",
            "x:5: wificrm.portal.port: Expected `int`, got `str`",
        ),
        ("config portal 'p'\n\toption port '99999'\n", "x:4: wificrm.p.port: Expected `int` <= 65535"),
        (
            "config network 'a'\nconfig network 'b'\n\toption lease 'x'\n",
            "x:5: wificrm.b.lease: Expected `str`",
        ),
        ("config network 'a'\n\toption minutes '0'\n", "x:4: wificrm.a.minutes: Expected `int` >= 1"),
        (
            "config network 'a'\n\toption never 'x'\n",
            "x:4: wificrm.a.never: Expected a list (in UCI: list, not option)",
        ),
        ("config network\n", "x:3: wificrm.@network[0].name: Expected `str` matching"),
        ("config network 'a'\n\toption address4 '1.2.3'\n", "x:4: wificrm.a.address4:"),
        ("config network 'a'\n\toption name 'b'\n", "x:4: its name is that of its section"),
        ("config network\nconfig network\n", "x:3: wificrm.@network[0].name"),
        ("config network 'a'\nconfig network\n", "x:4: wificrm.@network[1].name"),
        ("config portal\n\toption name 'a\n", "x:4: a quotation mark is left open"),
        ("config portal\n\tname 'a'\n", "x:4: expected config, option or list"),
        ("option name 'a'\n", ""),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, complaint: str) -> None:
    if not complaint:
        with pytest.raises(SetupError):
            parse_settings("config\n" + text, "x")
        return
    with pytest.raises(SetupError) as told:
        parse_settings(STORAGE + text, "x")
    assert str(told.value).startswith(complaint)


def test_yes_and_no_in_all_words_of_uci() -> None:
    assert {
        (table.encode_name, field.encode_name)
        for table in msgspec.structs.fields(Settings)
        if isinstance(table.type, type) and issubclass(table.type, msgspec.Struct)
        for field in msgspec.structs.fields(table.type)
        if field.type is bool
    } == BOOLEANS
    for word, meaning in {**WORDS, "0": "0", "false": "0", "true": "1"}.items():
        settings = parse_settings(f"{STORAGE}{GUEST}config uplink\n\toption masquerade '{word}'\n")
        assert settings.uplink.masquerade == (meaning == "1")


def test_what_is_empty_is_left_out_as_for_uci_itself() -> None:
    """The next `uci commit` drops it; with another meaning until then the network would lose its IPv6 in between."""
    text = STORAGE + "config network 'guest'\n\toption address6 ''\n\tlist always ''\n\toption lease ''\n"
    assert parse_settings(text) == parse_settings(STORAGE + GUEST)


def test_a_list_that_began_as_an_option_keeps_it_as_uci_does() -> None:
    text = STORAGE + GUEST + "config uplink 'uplink'\n\toption dns '9.9.9.9'\n\tlist dns '1.1.1.1'\n"
    assert parse_settings(text).uplink.dns == ("9.9.9.9", "1.1.1.1")


def test_a_line_ends_where_uci_ends_it() -> None:
    """Names pasted from a letter carry line separators of their own."""
    text = (
        STORAGE
        + GUEST
        + "config venue 'venue'\n\toption name_vi 'Phường\u2028Bến Đò'\r\n\toption name_en 'A'\n"
    )
    assert parse_settings(text).venue.names == {"vi": "Phường\u2028Bến Đò", "en": "A"}


def test_without_time_zones_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tzdata", *(each for each in sys.modules if each.startswith("tzdata."))):
        monkeypatch.setitem(sys.modules, name, None)  # nor those of PyPI
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        with pytest.raises(
            SetupError, match=r"wificrm\.venue\.timezone: this system knows of no time zones: apt-get"
        ):
            parse_settings(STORAGE + GUEST)
    finally:
        zoneinfo.reset_tzpath()


def test_what_is_uci_is_told_by_its_first_word() -> None:
    assert is_uci("# a remark\n\n  config wificrm 'main'\n")
    assert is_uci("package wificrm\nconfig a\n")
    assert not is_uci("# config a\nstate = 1\n[config]\n")
    assert not is_uci("config = 1\n")
    assert not is_uci("")


def test_the_file_may_be_named_by_the_environment() -> None:
    words = [sys.executable, "-c", "from crm.settings import DEFAULT_PATH; print(DEFAULT_PATH)"]
    for named, expected in (({}, "/etc/wificrm/wificrm.toml"), ({"WIFICRM_CONFIG": "/etc/x"}, "/etc/x")):
        done = subprocess.run(
            words, cwd=CONFIG.parents[2], env=named, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{expected}\n"
