"""A phone behind a thin router, from its router's redirect to the Internet and back."""

from tests.captive.routers.thin_portal import ThinPortal


async def test_a_phone_behind_a_router_goes_online(portal: ThinPortal) -> None:
    router, phone = portal.router(), portal.phone()
    await router.connect()
    assert (await phone.get("/vi")).status == 403
    entered = await phone.get(router.enter_path(phone.mac, "bao.example/tin"))
    assert (entered.status, entered.location) == (303, "/")
    page = await phone.get("/vi")
    assert page.status == 200
    assert "A0" in page.text
    assert (await phone.post("/vi/skip")).location == "/vi/online"
    assert phone.mac in router.table
    online = await phone.get("/vi/online")
    assert online.status == 200
    assert "http://bao.example/tin" in online.text
