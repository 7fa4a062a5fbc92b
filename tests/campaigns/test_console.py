"""The staff side of announcements: Mai manages all, Lan manages DEMO-X02, Nam reads DEMO-P01."""

import re
from collections.abc import AsyncIterator
from datetime import date

import pytest
from aiohttp import web

from campaigns.announcements import Draft
from campaigns.console import ROUTES, STATES
from campaigns.store import insert_announcement, select_announcement, select_announcements
from crm.console import unmarked_routes
from crm.frame import NAV
from crm.settings import Network, Settings
from crm.store import Store
from crm.web import SETTINGS
from tests.console_app import Client, add_people, fill, form_key, make_console, open_client, sign_in

TEXTS = {"vi": {"title": "Nghỉ lễ", "body": "Trung tâm **nghỉ**."}}
FORM = {
    "venue": "DEMO-P01",
    "title-vi": "Cúp <điện>",
    "body-vi": "Từ 8 giờ.",
    "title-en": "",
    "body-en": "",
    "starts": "2026-11-20",
    "ends": "",
}
CHANGES = [
    "/announcements/new",
    "/announcements/1/edit",
    "/announcements/1/withdraw",
    "/announcements/1/restore",
]


@pytest.fixture
async def client(store: Store) -> AsyncIterator[Client]:
    await fill(store)
    async with store.begin() as conn:
        await insert_announcement(conn, "DEMO-P01", Draft(TEXTS, date(2026, 11, 1), None, urgent=True))
    opened = await open_client(make_console(store, ROUTES, ("crm", "campaigns")))
    await add_people(opened)
    yield opened
    await opened.close()


async def key_of(client: Client) -> str:
    return form_key(await (await client.get("/announcements")).text())


async def test_every_route_says_who_may_open_it(store: Store) -> None:
    assert unmarked_routes(make_console(store, ROUTES, ("crm", "campaigns"))) == []


@pytest.mark.parametrize("path", ["/announcements", *CHANGES[:2]])
async def test_a_stranger_sees_nothing(client: Client, path: str) -> None:
    answer = await client.get(path, allow_redirects=False)
    assert answer.status == 303
    assert answer.headers["Location"].startswith("/sign-in?next=/announcements")


async def test_an_official_reads_but_changes_nothing(client: Client, store: Store) -> None:
    await sign_in(client, "nam")
    page = await (await client.get("/announcements")).text()
    assert "Nghỉ lễ" in page
    assert "<strong>nghỉ</strong>" in page
    assert "/edit" not in page
    assert "/withdraw" not in page
    key = form_key(page)
    for path in CHANGES:
        assert (await client.post(path, data=FORM | {"key": key})).status == 403
    for path in CHANGES[:2]:
        assert (await client.get(path)).status == 403
    async with store.read() as conn:
        (only,) = await select_announcements(conn, None)
    assert not only.withdrawn


async def test_a_manager_of_another_venue_meets_nothing_of_this_one(client: Client, store: Store) -> None:
    await sign_in(client, "lan")
    page = await (await client.get("/announcements")).text()
    assert "Nghỉ lễ" not in page
    assert "Nghỉ lễ" not in await (await client.get("/announcements?venue=DEMO-P01&changed=1")).text()
    key = form_key(page)
    assert (await client.get("/announcements/1/edit")).status == 404
    for path in CHANGES:
        answer = await client.post(path, data=FORM | {"key": key})
        assert answer.status == 404
    async with store.read() as conn:
        (only,) = await select_announcements(conn, None)
    assert (only.texts, only.withdrawn) == (TEXTS, False)


async def test_writing_one_needs_a_venue_first_when_there_are_several(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    page = await (await client.get("/announcements/new")).text()
    assert "For which centre?" in page
    page = await (await client.get("/announcements/new?venue=DEMO-P01")).text()
    assert 'value="2026-11-20"' in page, "starts today"
    answer = await client.post(
        "/announcements/new", data=FORM | {"key": form_key(page)}, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/announcements?state=shown&changed=2")
    page = await (await client.get(answer.headers["Location"])).text()
    assert "“Cúp &lt;điện&gt;” is saved." in page
    async with store.read() as conn:
        new = await select_announcement(conn, 2, "DEMO-P01")
    assert new is not None
    assert new.texts == {"vi": {"title": "Cúp <điện>", "body": "Từ 8 giờ."}}
    assert not new.urgent


async def test_mistakes_are_told_with_links_and_what_was_typed_stays(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    form = FORM | {"key": await key_of(client), "title-vi": "x" * 121, "title-en": '"><b>', "starts": "20/11"}
    answer = await client.post("/announcements/new", data=form)
    page = await answer.text()
    assert answer.status == 422
    links = re.findall(r'<a href="#([\w-]+)">', page)
    assert links == ["title-vi", "body-en", "starts"]
    for field in links:
        assert f'id="{field}"' in page
        assert f'id="{field}-error"' in page
    assert "x" * 121 in page
    assert 'value="&#34;&gt;&lt;b&gt;"' in page
    assert "Từ 8 giờ.</textarea>" in page
    async with store.read() as conn:
        assert len(await select_announcements(conn, None)) == 1


async def test_a_preview_saves_nothing(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    form = FORM | {"key": await key_of(client), "body-vi": "Từ **8 giờ**.", "action": "preview"}
    answer = await client.post("/announcements/new", data=form)
    page = await answer.text()
    assert answer.status == 200
    assert "<strong>8 giờ</strong>" in page
    assert "Từ **8 giờ**.</textarea>" in page
    async with store.read() as conn:
        assert len(await select_announcements(conn, None)) == 1


async def test_one_is_changed(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    page = await (await client.get("/announcements/1/edit")).text()
    assert 'value="Nghỉ lễ"' in page
    assert "checked" in page
    form = FORM | {"key": form_key(page), "ends": "2026-11-10", "starts": "2026-11-01"}
    answer = await client.post("/announcements/1/edit", data=form, allow_redirects=False)
    assert answer.headers["Location"] == "/announcements?state=past&changed=1"
    async with store.read() as conn:
        found = await select_announcement(conn, 1, None)
    assert found is not None
    assert (found.venue, found.ends, found.urgent) == ("DEMO-P01", date(2026, 11, 10), False)


@pytest.fixture
async def desks(store: Store) -> AsyncIterator[Client]:
    """The console of a box with the networks *guest* and *desks*, and Mai at it."""
    await fill(store)
    app = make_console(store, ROUTES, ("crm", "campaigns"))
    app[SETTINGS] = Settings(networks=(Network(name="guest"), Network(name="desks")))
    opened = await open_client(app)
    await add_people(opened)
    await sign_in(opened, "mai")
    yield opened
    await opened.close()


def ticked(page: str) -> dict[str, bool]:
    """{network: whether its box is ticked} on *page*."""
    return {name: bool(on) for name, on in re.findall(r'name="network-(\w+)"( checked)?', page)}


async def test_networks_are_chosen_by_their_names(desks: Client, store: Store) -> None:
    page = await (await desks.get("/announcements/new?venue=DEMO-P01")).text()
    assert ticked(page) == {"guest": False, "desks": False}
    form = FORM | {"key": form_key(page), "network-desks": "on"}
    preview = await (await desks.post("/announcements/new", data=form | {"action": "preview"})).text()
    assert ticked(preview) == {"guest": False, "desks": True}
    page = await (await desks.post("/announcements/new", data=form)).text()
    assert "Only on: desks" in page
    form = FORM | {"key": form_key(page)}
    await desks.post("/announcements/1/edit", data=form)
    async with store.read() as conn:
        (only,) = await select_announcements(conn, None)
    assert only.networks == ()


async def test_a_network_that_is_no_more_stays_until_it_is_unticked(desks: Client, store: Store) -> None:
    draft = Draft(TEXTS, date(2026, 11, 1), None, urgent=False, networks=("attic",))
    async with store.begin() as conn:
        await insert_announcement(conn, "DEMO-P01", draft)
    page = await (await desks.get("/announcements/1/edit")).text()
    assert ticked(page) == {"guest": False, "desks": False, "attic": True}


async def test_networks_of_this_box_are_none_of_another_centres(desks: Client) -> None:
    page = await (await desks.get("/announcements/new?venue=DEMO-X02")).text()
    assert 'name="title-vi"' in page
    assert ticked(page) == {}


async def test_a_network_that_cannot_be_is_told(desks: Client) -> None:
    form = FORM | {"key": await key_of(desks), "network-Bến Đò": "on"}
    answer = await desks.post("/announcements/new", data=form)
    page = await answer.text()
    assert answer.status == 422
    assert '<a href="#networks">' in page
    assert 'id="networks-error"' in page


async def test_one_network_is_no_choice(client: Client) -> None:
    await sign_in(client, "mai")
    assert ticked(await (await client.get("/announcements/new?venue=DEMO-P01")).text()) == {}


async def test_one_is_withdrawn_and_put_back(client: Client) -> None:
    await sign_in(client, "mai")
    key = await key_of(client)
    page = await (await client.post("/announcements/1/withdraw", data={"key": key})).text()
    assert "Guests no longer see “Nghỉ lễ”." in page
    assert "Undo: put it back" in page
    page = await (await client.get("/announcements?state=withdrawn")).text()
    assert "Put back" in page
    answer = await client.post("/announcements/1/restore", data={"key": key}, allow_redirects=False)
    assert answer.headers["Location"] == "/announcements?state=shown&changed=1"


async def test_forms_need_the_key(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    for path in CHANGES:
        assert (await client.post(path, data=FORM | {"key": "guess"})).status == 403
    async with store.read() as conn:
        (only,) = await select_announcements(conn, None)
    assert (only.texts, only.withdrawn) == (TEXTS, False)


@pytest.mark.parametrize(
    "path",
    [
        "/announcements/999/edit",
        "/announcements/x/edit",
        "/announcements/9999999999/edit",
        "/announcements?venue=NO",
    ],
)
async def test_what_is_not_there_is_a_page_that_says_so(client: Client, path: str) -> None:
    await sign_in(client, "mai")
    answer = await client.get(path)
    assert answer.status == 404
    assert "There is no such" in await answer.text()


@pytest.mark.parametrize(
    "query", ["state=<b>", "changed=<b>", "venue=%00", "state=past&state=shown", "venue="]
)
async def test_a_strange_query_harms_nothing(client: Client, query: str) -> None:
    await sign_in(client, "mai")
    answer = await client.get(f"/announcements?{query}")
    assert answer.status == 200
    assert "<b>" not in await answer.text()


async def test_the_longest_text_in_two_languages_fits_the_form(client: Client) -> None:
    await sign_in(client, "mai")
    words = {"body-vi": "ễ" * 4000, "body-en": "ễ" * 4000, "title-en": "ễ" * 120}
    form = FORM | words | {"key": await key_of(client)}
    answer = await client.post("/announcements/new", data=form, allow_redirects=False)
    assert answer.status == 303


async def test_the_frame_and_the_list_speak_vietnamese(client: Client) -> None:
    await sign_in(client, "mai")
    page = await (await client.get("/announcements", headers={"Accept-Language": "vi-VN"})).text()
    for message in (*STATES.values(), *(name for _, name in NAV)):
        assert f">{message}" not in page, message
    for word in ("Đang hiển thị", "Báo cáo", "Thông báo", "Đăng xuất", "lượt"):
        assert word in page


def test_handlers_are_marked_as_the_frame_demands() -> None:
    for route in ROUTES:
        access = getattr(route.handler, "access", None)
        reads = route.method == "GET" and route.path == "/announcements"
        assert access == ("official" if reads else "manager"), route
    assert all(isinstance(route, web.RouteDef) for route in ROUTES)
