"""What is left of a phone behind a router once it has gone: nothing, on the disk and in the log."""

from pathlib import Path

import pytest

from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import end, thin_portal
from tests.lab.certificates import Authority


async def test_nothing_on_the_disk_or_in_the_log_names_a_phone_that_has_gone(
    tmp_path: Path, authority: Authority, pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    async with thin_portal(tmp_path, Clock(), authority, pair) as portal:
        router, phone = portal.router(), portal.phone("02:5e:c2:e7:0a:b1")
        await router.connect()
        await phone.get(router.enter_path(phone.mac, "benh-vien.example/ket-qua"))
        token = (await phone.get("/vi")).token
        await phone.post("/vi/survey/A0", r=token, value="done")
        await phone.post("/vi/skip")
        router.present.add(phone.mac)
        router.table[phone.mac].up = 12_345
        await router.report()
        assert (
            phone.mac.encode()
            in (tmp_path / "access.db").read_bytes() + (tmp_path / "access.db-wal").read_bytes()
        )
        await phone.get("/vi/online")
        await end(portal, phone)
        router.present.clear()
        await router.until(lambda: phone.mac not in router.table)
        traces = [phone.mac, phone.mac.replace(":", ""), phone.cookie, "benh-vien.example", *router.salts]
    log = "".join(capfd.readouterr())
    assert "a router is here" in log
    assert not any(trace in log for trace in traces)
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        held = path.read_bytes()
        for trace in traces:
            assert trace.encode() not in held, path
            assert bytes.fromhex(phone.mac.replace(":", "")) not in held, path
