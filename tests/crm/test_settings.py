import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from crm.errors import SetupError
from crm.settings import Router, Settings, secret
from crm.settings_file import load_settings, parse_settings

ROOT = Path(__file__).parents[2]
TLS = '\n[portal]\nname = "p.example"\ncertificate = "/c"\nkey = "/k"\n'


def every_key() -> set[str]:
    keys = set()
    for name, value in msgspec.structs.asdict(Settings()).items():
        if name == "routers":
            continue  # of which there is none by default; see below
        if name == "networks":
            keys |= {f"network.{key}" for key in value[0].__struct_fields__}
        elif isinstance(value, msgspec.Struct):
            keys |= {f"{name}.{key}" for key in msgspec.structs.asdict(value)}
        else:
            keys.add(name)
    return keys


def example() -> str:
    return (ROOT / "wificrm.example.toml").read_text("utf-8")


def test_the_example_is_the_defaults_and_has_every_key() -> None:
    uncommented = re.sub(r"(?m)^#(?=[a-z_0-9]+ *=|\[)", "", example())
    assert parse_settings(uncommented) == Settings()
    raw = tomllib.loads(uncommented)
    raw["network"] = {"grant": {}, **raw["network"][0]}  # it stands in the text as an override
    keys = {
        f"{name}.{key}" if isinstance(value, dict) else name
        for name, value in raw.items()
        for key in (value if isinstance(value, dict) else [name])
    }
    assert keys == every_key()


def test_every_key_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    routers = {f"router.{key}" for key in Router.__struct_fields__}
    assert [key for key in sorted(every_key() | routers) if f"`{key}`" not in readme] == []


def test_the_example_shows_a_router_with_every_key() -> None:
    table = example().partition("#   [[router]]\n")[2].partition("\n\n")[0]
    text = "[[router]]\n" + table.replace("#   ", "") + TLS
    settings = parse_settings(text)
    assert set(tomllib.loads(text)["router"][0]) == set(Router.__struct_fields__)
    assert not settings.networks
    assert [each.name for each in settings.places] == ["hall2"]


def test_a_router_has_the_terms_of_the_box_but_for_its_own() -> None:
    text = f'[grant]\nminutes = 30\nup_mb = 5\n[network]\n[[router]]\nname="a"\ngrant={{minutes=7}}\n{TLS}'
    settings = parse_settings(text)
    assert (settings.routers[0].grant.minutes, settings.routers[0].grant.up_mb) == (7, 5)
    assert [each.name for each in settings.places] == ["guest", "a"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[portal]\nport = "x"\n', r"f:2: portal\.port: Expected `int`"),
        ("[portal]\n\nprot = 3\n", r"f:3: portal\.prot: there is no such setting"),
        ("[portal]\nport = 70000\n", r"f:2: portal\.port: "),
        ("x=\n", r"f: not TOML: .*line 1"),
        ('[network]\ninterface="a"\naddress4 = "1.2.3.4/33"\n', r"f:3: network\[0\]\.address4: .*192\.168"),
        (
            '[network]\naddress4 = "192.168.50.0/24"\n',
            r"f:2: .*address4: 192\.168\.50\.0 is no address for a box",
        ),
        ('[network]\naddress4 = "192.168.50.255/24"\n', r"address4: .*but the network itself"),
        ('[network]\naddress4 = "127.0.0.1/8"\n', r"address4: .*not for networks of guests"),
        ('[network]\naddress6 = "fd50::/64"\n', r"address6: .*but the network itself"),
        (
            '[network]\naddress6 = "fd50::1/48"\n',
            r"address6: phones make themselves an address in a /64 only",
        ),
        ('[network]\ninterface="a b; rm"\n', r"f:2: network\[0\]\.interface: "),
        ('[network]\nwalled_garden = ["x y"]\n', r"f:2: network\[0\]\.walled_garden: "),
        ('[venue]\nlanguages=["vi","fr"]\n', r"venue\.names: the name in 'fr' is missing"),
        ('[venue]\ntimezone = "Hanoi"\n', r"f:2: venue\.timezone: .*Asia/Ho_Chi_Minh"),
        ('[store]\ncrm = "/a"\naccess = "/a"\n', r"f:3: store\.access: must not be"),
        ('[portal]\ncertificate = "/c"\n', r"portal\.key: certificate and key go together"),
        ("[console]\nport = 8080\n", r"must all differ"),
        ('[grant]\nminutes = "a"\n', r"f:2: grant\.minutes: "),
        (
            '[[network]]\nname="a"\n[[network]]\nname="a"\ninterface="b"\n',
            r"f:4: network\[1\]\.name: two networks",
        ),
        (
            '[[network]]\nname="a"\n[[network]]\nname="b"\ninterface="b"\n',
            r"network\[1\]\.address4: .*overlap",
        ),
        ('[[network]]\n[[network]]\nname="b"\n', r"network\[1\]\.interface: br-guest belongs to"),
        ('[network]\ninterface="eth0"\n', r"f:2: network\[0\]\.interface: eth0 is the uplink"),
        ('[[router]]\nname="a"\n', r"portal\.certificate: routers connect over https only"),
        (f'[network]\n[[router]]\nname="guest"\n{TLS}', r"f:3: router\[0\]\.name: .*taken"),
        (
            f'[[router]]\nname="a"\nwalled_garden = {[f"a{n}.gov.vn" for n in range(57)]}\n{TLS}',
            r"f:3: router\[0\]\.walled_garden: 57 names; a thin router takes 56 at most",
        ),
        ("network = []\n", r"network: nobody is served"),
        *(
            (f'[watch]\nwebhook = "{wrong}"\n', r"f:2: watch\.webhook: expected an address")
            for wrong in (
                "chat",
                "http://",
                "https://[::1/x",
                "http://[z]/",
                "http://h:99999/",
                "http://h:x/",
                "http://a b/",
            )
        ),
        ("[metrics]\nport = 8080\n", r"must all differ"),
        (f'[gate]\nsocket = "/{"ệ" * 36}"\n', r"f:2: gate\.socket: a socket's path has at most 107 bytes"),
        ('[network]\nwalled_garden=["*.gstatic.com"]\n', r"f:2: .*opens connectivitycheck\.gstatic\.com"),
        ('[network]\nidentity = "mac+ip"\n', r"f:2: network\[0\]\.identity: it needs address6"),
        ('[network]\n[network.grant]\nopening = ["mo 8-17"]\n', r"f:3: .*mon-fri 07:30-17:00"),
        ('[network]\nalways = ["02:00:00:00:00:01"]\nnever = ["02:00:00:00:00:01"]\n', r"f:3: .*always too"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(text: str, complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        parse_settings(text, "f")


def test_a_file_that_was_saved_on_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wificrm.toml"
    path.write_bytes(b"\xef\xbb\xbf[network]\r\nlease = '17m'\r\n")
    assert load_settings(path).networks[0].lease == "17m"


def test_a_missing_file_says_what_to_do() -> None:
    with pytest.raises(SetupError, match=r"copy wificrm\.example\.toml"):
        load_settings(Path("/nonexistent/wificrm.toml"))


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(secrets=str(tmp_path / "secrets"))
    first = secret(settings, "forms")
    assert len(first) == 32
    assert secret(settings, "forms") == first
    assert (tmp_path / "secrets/forms").stat().st_mode & 0o077 == 0
    (tmp_path / "secrets/forms").write_bytes(b"")  # as after a power cut: anybody could sign with it
    assert len(secret(settings, "forms")) == 32
    assert [each.name for each in (tmp_path / "secrets").iterdir()] == ["forms"]
    monkeypatch.setenv("WIFICRM_FORMS", "given")
    assert secret(settings, "forms") == b"given"
