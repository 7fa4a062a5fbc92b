"""How full the pool of addresses is: numbers only, where the portal's user may read them."""

import json
import os
import time
from pathlib import Path

import msgspec

from captive.box.dnsmasq import LEASES
from captive.box.pool import POOLS, STALE, Pool, count_leases, read_pools, write_pools
from crm.settings import Network, Settings

LINES = """1763790000 02:00:00:00:00:01 192.168.50.2 * 01:02:00:00:00:00:01
1763790000 02:00:00:00:00:02 192.168.50.254 phone ff:00
1763790000 02:00:00:00:00:03 10.8.0.77 * *
duid 00:01:00:01:aa
1763790000 1234 fd50:7c3a:1::77 * 00:01

1763790000 02:00:00:00:00:04 not-an-address * *
1763790000 02:00:00:00:00:05 203.0.113.9 * *
"""
DESKS = Network(name="desks", interface="br-desks", address4="10.8.0.100/29")


def settings_in(folder: Path) -> Settings:
    return Settings(networks=(Network(), DESKS), state=str(folder))


def test_each_network_has_its_own_pool(tmp_path: Path) -> None:
    pools = count_leases(settings_in(tmp_path), LINES.splitlines())
    assert pools == {"guest": Pool(253, 2), "desks": Pool(5, 0)}
    wide = msgspec.structs.replace(DESKS, address4="10.8.0.100/24")
    assert count_leases(Settings(networks=(wide,)), LINES.splitlines()) == {"desks": Pool(253, 1)}


def test_numbers_and_nothing_else_are_left_for_everybody_to_read(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    write_pools(settings)
    assert read_pools(settings) == {}, "no dnsmasq, no numbers"
    (tmp_path / LEASES).write_text(LINES)
    (tmp_path / f"{POOLS}.new").symlink_to(tmp_path / "elsewhere")
    write_pools(settings)
    assert not (tmp_path / "elsewhere").exists()
    file = tmp_path / POOLS
    assert file.stat().st_mode & 0o777 == 0o644
    assert json.loads(file.read_text()) == {
        "guest": {"size": 253, "used": 2},
        "desks": {"size": 5, "used": 0},
    }
    assert read_pools(settings)["guest"] == Pool(253, 2)
    os.utime(file, (0, time.time() - STALE - 5))
    assert read_pools(settings) == {}, "a full pool behind a count of yesterday would be told by nobody"


def test_a_file_that_is_not_ours_tells_nothing(tmp_path: Path) -> None:
    for text in ("", "[]", '{"guest": {"size": "many"}}', "\0" * 100_000):
        (tmp_path / POOLS).write_text(text)
        assert read_pools(settings_in(tmp_path)) == {}
