"""The console's frame: who gets in, what is refused and how it is told."""

import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from sqlalchemy import select
from structlog.testing import capture_logs

from crm import tables
from crm.console import unmarked_routes
from crm.errors import UserError
from crm.frame import render_console, safe_next
from crm.staff import SESSION_COOKIE, current_staff, staff_only
from crm.store import Store
from crm.web import public, read_form
from tests.console_app import (
    PASSWORD,
    Client,
    Clock,
    add_people,
    fill,
    form_key,
    make_console,
    open_client,
    sign_in,
)


@staff_only("official")
async def read_page(request: web.Request) -> web.StreamResponse:
    return web.Response(text=current_staff(request).name)


@staff_only("manager")
async def change_page(request: web.Request) -> web.StreamResponse:
    form = await read_form(request) if request.method == "POST" else {}
    return web.Response(text=f"changed {form.get('value', '')}")


@public
async def failing_page(request: web.Request) -> web.StreamResponse:
    if request.query.get("how") == "user":
        raise UserError("The centre {venue} is closed.", 410, venue="<b>X</b>")
    raise ZeroDivisionError("secret detail")


ROUTES = [
    web.get("/reports", read_page),
    web.get("/change", change_page),
    web.post("/change", change_page),
    web.get("/failing", failing_page),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[Client]:
    await fill(store)
    opened = await open_client(make_console(store, ROUTES, clock=clock))
    await add_people(opened)
    yield opened
    await opened.close()


@pytest.mark.parametrize("path", ["/reports", "/change"])
async def test_a_stranger_is_sent_to_sign_in(client: Client, path: str) -> None:
    answer = await client.get(path, allow_redirects=False)
    assert answer.status == 303
    assert answer.headers["Location"] == f"/sign-in?next={path}"


async def test_an_official_reads_and_may_not_change(client: Client) -> None:
    await sign_in(client, "nam")
    assert await (await client.get("/reports")).text() == "nam"
    for answer in (await client.get("/change"), await client.post("/change", data={"value": "1"})):
        assert answer.status == 403
        assert "Only managers" in await answer.text()


async def test_a_manager_changes_with_the_form_key_only(client: Client) -> None:
    await sign_in(client, "Mai")
    key = form_key(await (await client.get("/nowhere")).text())
    assert (await client.post("/change", data={"value": "1"})).status == 403
    assert (await client.post("/change", data={"value": "1", "key": key[:-1] + "é"})).status == 403
    answer = await client.post("/change", data={"value": "1", "key": key})
    assert await answer.text() == "changed 1"


async def test_signing_in_leads_to_the_page_that_was_asked_for(client: Client) -> None:
    page = await (await client.get("/sign-in?next=/change?day=2026-11-01")).text()
    assert 'value="/change?day=2026-11-01"' in page
    form = {"name": "mai", "password": PASSWORD, "next": "/change", "key": form_key(page)}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    assert answer.headers["Location"] == "/change"
    again = await client.get("/sign-in?next=/change", allow_redirects=False)
    assert again.headers["Location"] == "/change"


async def test_the_session_cookie_is_for_this_site_and_no_script(client: Client, store: Store) -> None:
    page = await (await client.get("/sign-in")).text()
    form = {"name": "mai", "password": PASSWORD, "key": form_key(page)}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    cookie = answer.cookies[SESSION_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (
        True,
        "Lax",
        "/",
        "",
    )
    assert len(cookie.value) >= 43, "256 bits"
    async with store.read() as conn:
        assert cookie.value not in (await conn.scalars(select(tables.staff_session.c.token_hash))).all()


async def test_a_wrong_password_and_an_unknown_name_look_alike(client: Client) -> None:
    pages = []
    for name in ("mai", "nobody", "no\x00body"):
        page = await (await client.get("/sign-in")).text()
        form = {"name": name, "password": "wrong", "key": form_key(page)}
        answer = await client.post("/sign-in", data=form)
        assert answer.status == 403
        text = await answer.text()
        assert "The name or the password is not right." in text
        pages.append(re.sub(r'id="name" name="name" value="[^"]*"', "", text))
    assert pages[0] == pages[1]


async def test_what_was_typed_is_kept_but_not_the_password(client: Client) -> None:
    page = await (await client.get("/sign-in")).text()
    form = {"name": 'a"b', "password": "my secret", "next": "/change", "key": form_key(page)}
    text = await (await client.post("/sign-in", data=form)).text()
    assert 'value="a&#34;b"' in text
    assert 'value="/change"' in text
    assert "my secret" not in text


async def test_guessing_is_slowed_down(client: Client) -> None:
    page = await (await client.get("/sign-in")).text()
    form = {"name": "mai", "password": "wrong", "key": form_key(page)}
    for _ in range(5):
        assert (await client.post("/sign-in", data=form)).status == 403
    answer = await client.post("/sign-in", data=form | {"password": PASSWORD})
    assert answer.status == 429
    assert "Please try again in 5 min." in await answer.text()


async def test_a_form_from_another_browser_does_not_sign_in(client: Client) -> None:
    stolen = form_key(await (await client.get("/sign-in")).text())
    client.session.cookie_jar.clear()
    await client.get("/sign-in")
    form = {"name": "mai", "password": PASSWORD, "key": stolen}
    answer = await client.post("/sign-in", data=form, allow_redirects=False)
    assert answer.status == 403
    assert "open for too long" in await answer.text()


async def test_signing_out_ends_the_session_in_the_store(client: Client, store: Store) -> None:
    await sign_in(client, "mai")
    key = form_key(await (await client.get("/nowhere")).text())
    refused = await client.post("/sign-out", data={"key": "x"}, allow_redirects=False)
    assert refused.status == 403
    answer = await client.post("/sign-out", data={"key": key}, allow_redirects=False)
    assert answer.headers["Location"] == "/sign-in"
    assert (await client.get("/reports", allow_redirects=False)).status == 303
    async with store.read() as conn:
        assert (await conn.execute(select(tables.staff_session))).all() == []


async def test_signing_out_from_another_site_ends_nothing(client: Client) -> None:
    await sign_in(client, "mai")
    token = client.session.cookie_jar.filter_cookies(client.make_url("/"))[SESSION_COOKIE].value
    client.session.cookie_jar.clear()  # a cross-site form comes without the cookie (SameSite=Lax)
    answer = await client.post("/sign-out", data={}, allow_redirects=False)
    assert SESSION_COOKIE not in answer.cookies
    page = await client.get("/reports", cookies={SESSION_COOKIE: token})
    assert page.status == 200


async def test_a_session_slides_and_ends(client: Client, clock: Clock) -> None:
    await sign_in(client, "mai")
    for _ in range(3):
        clock.move(hours=7)
        assert (await client.get("/reports", allow_redirects=False)).status == 200
    clock.move(hours=8)
    assert (await client.get("/reports", allow_redirects=False)).status == 303


@pytest.mark.parametrize("token", ["x", "x" * 2000, "%00"])
async def test_a_forged_cookie_is_nobody(client: Client, token: str) -> None:
    header = {"Cookie": f"{SESSION_COOKIE}={token}; wificrm_before={token}"}
    answer = await client.get("/reports", headers=header, allow_redirects=False)
    assert answer.status == 303
    assert (await client.get("/sign-in", headers=header)).status == 200


async def test_the_language_is_chosen_and_stays(client: Client) -> None:
    answer = await client.post(
        "/language", data={"language": "vi", "next": "/sign-in?next=/"}, allow_redirects=False
    )
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=/")
    page = await (await client.get("/sign-in")).text()
    assert '<html lang="vi">' in page
    assert "Đăng nhập" in page
    assert (await client.post("/language", data={"language": "km"})).status == 400


async def test_errors_are_pages_with_the_headers_and_without_details(client: Client) -> None:
    for path, status, sentence in (
        ("/nowhere", 404, "There is no such page."),
        ("/failing?how=user", 410, "The centre &lt;b&gt;X&lt;/b&gt; is closed."),
        ("/failing", 500, "Something went wrong."),
        ("/static/../staff.py", 404, "There is no such page."),
        ("/static/%2e%2e%2fstaff.py", 404, "There is no such page."),
    ):
        with capture_logs() as logs:
            answer = await client.get(path)
        text = await answer.text()
        assert (answer.status, sentence in text) == (status, True), path
        assert "secret detail" not in text
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert [entry["error"] for entry in logs] == (["ZeroDivisionError"] if status == 500 else [])
        assert "secret detail" not in str(logs).replace('raise ZeroDivisionError("secret detail")', "")
    wrong_method = await client.post("/reports")
    assert wrong_method.status == 405
    assert wrong_method.headers["Allow"] == "GET,HEAD"


async def test_a_redirect_and_the_stylesheet_carry_the_headers_too(client: Client) -> None:
    redirect = await client.get("/", allow_redirects=False)
    assert redirect.headers["Location"] == "/reports"
    page = await (await client.get("/sign-in")).text()
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    style = await client.get(address)
    assert style.status == 200
    assert style.content_type == "text/css"
    assert "immutable" in style.headers["Cache-Control"]
    assert (await client.get("/static/console.css")).headers["Cache-Control"] == "no-cache"
    for answer in (redirect, style):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert len(await style.read()) < 12_000


OTHER_PLACES = [
    "//evil.example",
    "/\\evil.example",
    "http://evil.example",
    "/.//evil.example",
    "/%2f/e",
    "evil",
    "/a//b",
    "/é",
]


@pytest.mark.parametrize("address", [*OTHER_PLACES, "", "/\t/evil.example", "/x\r\nA: b", "/" + "a" * 600])
def test_only_plain_paths_of_this_site_are_gone_to(address: str) -> None:
    assert safe_next(address) == "/"


def test_a_page_of_the_console_is_gone_to() -> None:
    for path in ("/", "/announcements/3/edit", "/reports?from=2026-01-01&to=2026-02-01&venue=DEMO-P01"):
        assert safe_next(path) == path


async def test_a_page_that_does_not_say_who_may_open_it_stops_the_start(store: Store) -> None:
    async def forgotten(request: web.Request) -> web.StreamResponse:
        return render_console(request, "crm/console_error.html", message="", values={})

    app = make_console(store, [web.get("/forgotten", forgotten)])
    assert len(unmarked_routes(app)) == 2, "GET and HEAD"
    runner = web.AppRunner(app)
    with pytest.raises(RuntimeError, match="forgotten"):
        await runner.setup()
    await runner.cleanup()


async def test_a_form_that_is_too_long_is_refused_with_a_sentence(client: Client) -> None:
    answer = await client.post("/sign-in", data={"name": "a" * 300_000})
    assert answer.status == 413
    assert "too long" in await answer.text()
    answer = await client.post("/sign-in", data=b"{}", headers={"Content-Type": "application/json"})
    assert answer.status == 415
    answer = await client.post("/sign-in", data=[("name", "a"), ("name", "b")])
    assert answer.status == 400
