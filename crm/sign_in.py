"""Signing in to the console and out again."""

import asyncio
import hashlib
import hmac
import secrets
from urllib.parse import quote

from aiohttp import web

from crm.errors import UserError
from crm.frame import check_key, render_console, safe_next, set_cookie
from crm.staff import (
    NAME,
    SESSION,
    SESSION_COOKIE,
    Passwords,
    SignInLimit,
    Staff,
    delete_session,
    fold_name,
    insert_session,
    select_staff_by_name,
)
from crm.web import CLOCK, STORE, new_key, public, read_form

BEFORE_COOKIE = "wificrm_before"
"""Ties the sign-in form to the browser that asked for it, before there is a session."""


class SignInDesk:
    """What signing in needs besides the store; made anew with each process."""

    def __init__(self) -> None:
        self.passwords = Passwords()
        self.limit = SignInLimit()
        self.secret = secrets.token_bytes(32)

    def key_for(self, before: str) -> str:
        """The form key that belongs to the cookie *before* of a browser that has not signed in yet."""
        return hmac.new(self.secret, before.encode(), hashlib.sha256).hexdigest()


DESK = web.AppKey("DESK", SignInDesk)


def _before(request: web.Request) -> str:
    """The cookie that ties the form to the browser, when it can be one of ours."""
    cookie = request.cookies.get(BEFORE_COOKIE, "")
    return cookie if cookie.isascii() and len(cookie) <= 100 else ""


@public
async def sign_in_page(request: web.Request) -> web.StreamResponse:
    """Ask for name and password."""
    then = safe_next(request.query.get("next", "/"))
    if SESSION in request:
        raise web.HTTPSeeOther(then)
    return _ask_again(request, then)


def _ask_again(
    request: web.Request, then: str, name: str = "", error: UserError | None = None
) -> web.Response:
    before = _before(request) or new_key()
    response = render_console(
        request,
        "crm/sign_in.html",
        status=error.status if error else 200,
        next=then,
        here=f"/sign-in?next={quote(then, safe='/')}",
        name=name,
        error=error,
        key=request.config_dict[DESK].key_for(before),
    )
    set_cookie(request, response, BEFORE_COOKIE, before)
    return response


@public
async def sign_in(request: web.Request) -> web.StreamResponse:
    """Start a session for the right name and password."""
    form = await read_form(request)
    then, name = safe_next(form.get("next", "/")), form.get("name", "")[:64]
    try:
        staff = await _identify(request, form)
    except UserError as error:
        return _ask_again(request, then, name, error)
    async with request.config_dict[STORE].begin() as conn:
        await delete_session(conn, request.cookies.get(SESSION_COOKIE, ""))
        token = await insert_session(conn, staff.id, request.config_dict[CLOCK]())
    response = web.HTTPSeeOther(then)
    set_cookie(request, response, SESSION_COOKIE, token)
    response.del_cookie(BEFORE_COOKIE, path="/")
    raise response


async def _identify(request: web.Request, form: dict[str, str]) -> Staff:
    """Who this name and password belong to. Raises `UserError`; which of the two was wrong stays unsaid."""
    desk, name = request.config_dict[DESK], fold_name(form.get("name", ""))
    before = _before(request)
    if not before or not hmac.compare_digest(form.get("key", "").encode(), desk.key_for(before).encode()):
        raise UserError("This page was open for too long. Please try again.", 403)
    now = asyncio.get_running_loop().time()
    if seconds := desk.limit.wait(name, now):
        minutes = -(-seconds // 60)
        raise UserError("Too many attempts. Please try again in {minutes} min.", 429, minutes=minutes)
    desk.limit.tried(name, now)
    async with request.config_dict[STORE].read() as conn:
        found = await select_staff_by_name(conn, name) if NAME.fullmatch(name) else None
    if not await desk.passwords.verify(found[1] if found else None, form.get("password", "")) or not found:
        raise UserError("The name or the password is not right.", 403)
    desk.limit.succeeded(name)
    return found[0]


@public
async def sign_out(request: web.Request) -> web.StreamResponse:
    """End the session; without one there is nothing to end."""
    session = request.get(SESSION)
    if session is not None:
        check_key(await read_form(request), session.form_key)
        async with request.config_dict[STORE].begin() as conn:
            await delete_session(conn, request.cookies[SESSION_COOKIE])
    response = web.HTTPSeeOther("/sign-in")
    if session is not None:  # a form on another site comes without the cookie and must not end a session
        response.del_cookie(SESSION_COOKIE, path="/")
    raise response


ROUTES: list[web.RouteDef] = [
    web.get("/sign-in", sign_in_page),
    web.post("/sign-in", sign_in),
    web.post("/sign-out", sign_out),
]
