"""The console's frame: signing in and out, who may open which page, errors as pages, headers.

What staff read and change stands in each package's own ``console.py``; `add_console` is called once, by
whoever builds the application.
"""

import traceback
from urllib.parse import quote

import structlog
from aiohttp import web

from crm import sign_in
from crm.errors import UserError
from crm.frame import LANGUAGE_COOKIE, check_key, console_languages, render_console, safe_next, set_cookie
from crm.sign_in import DESK, SignInDesk
from crm.staff import (
    RENEW_AFTER,
    SESSION,
    SESSION_COOKIE,
    SESSION_LIFE,
    Session,
    renew_session,
    select_session,
)
from crm.static_files import static_file
from crm.store import StoreBusyError
from crm.web import CLOCK, SECURITY_HEADERS, STORE, Handler, public, read_form

__all__ = [
    "MAX_CONSOLE_FORM",
    "ROUTES",
    "add_console",
    "console_errors",
    "render_console",
    "staff_session",
    "unmarked_routes",
]

MAX_CONSOLE_FORM = 256 * 1024
"""Bytes of a console form at most (``client_max_size``): an announcement in three languages, escaped."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

log = structlog.get_logger()


def add_console(app: web.Application) -> None:
    """Put the frame into *app*: middlewares, its own pages, and a check at start that every page is marked.

    *app* should be made with ``client_max_size=MAX_CONSOLE_FORM``.
    """
    app[DESK] = SignInDesk()
    app.middlewares.extend([console_errors, staff_session])
    app.add_routes(ROUTES)
    app.on_startup.append(_check_marks)


def unmarked_routes(app: web.Application) -> list[str]:
    """Routes of *app* whose handler does not say who may call it."""
    return [str(route) for route in app.router.routes() if _access(route.handler) is None]


async def _check_marks(app: web.Application) -> None:
    if unmarked := unmarked_routes(app):
        raise RuntimeError(f"nobody says who may open {unmarked}; mark them @public or @staff_only")


def _access(handler: object) -> str | None:
    access: str | None = getattr(handler, "access", None)
    return access


@web.middleware
async def console_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into a page in the user's language, and put the headers on every answer."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPRedirection as redirection:
        _harden(redirection)
        raise
    except UserError as error:
        response = _error_page(request, error)
    except web.HTTPException as error:
        response = _error_page(request, _explain(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except ConnectionError:
        raise
    except StoreBusyError:
        response = _error_page(request, UserError("Too much is going on right now. Please try again.", 503))
    except Exception as error:
        # Where, not what: paths and messages may hold what somebody typed.
        where = "".join(traceback.format_tb(error.__traceback__)[-6:])
        log.error("a console page failed", error=type(error).__name__, where=where)  # noqa: TRY400
        response = _error_page(request, UserError("Something went wrong. Please try again in a minute.", 500))
    return _harden(response)


def _explain(error: web.HTTPException) -> UserError:
    messages = {
        404: "There is no such page.",
        405: "This page cannot be used that way. Please go back and use its buttons.",
        413: "That is too long. Please shorten it and send it again.",
    }
    return UserError(messages.get(error.status, "That did not work. Please try again."), error.status)


def _error_page(request: web.Request, error: UserError) -> web.Response:
    return render_console(
        request,
        "crm/console_error.html",
        status=error.status,
        message=error.message,
        values=error.values,
        here=request.path_qs if error.status in (403, 404) and request.method == "GET" else "/",
    )


def _harden(response: web.StreamResponse) -> web.StreamResponse:
    response.headers.update(SECURITY_HEADERS)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response


@web.middleware
async def staff_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in whoever the handler's mark lets in; check the form key of everything that is posted."""
    if request.path.startswith("/static/"):
        return await handler(request)
    session = await _find_session(request)
    if session is not None:
        request[SESSION] = session
    access = _access(request.match_info.handler)
    if access == "public" or request.match_info.http_exception is not None:
        return await handler(request)
    if access not in ("official", "manager"):
        raise RuntimeError("the page has no access mark")
    if session is None:
        here = request.path_qs if request.method in ("GET", "HEAD") else "/"
        raise web.HTTPSeeOther(f"/sign-in?next={quote(here, safe='/')}")
    if access == "manager" and session.staff.role != "manager":
        raise UserError("Only managers can do this. Please ask a manager of your centre.", 403)
    if request.method not in ("GET", "HEAD"):
        check_key(await read_form(request), session.form_key)
    return await handler(request)


async def _find_session(request: web.Request) -> Session | None:
    """The live session of the request's cookie; renewed when it is no longer fresh."""
    token = request.cookies.get(SESSION_COOKIE, "")
    if not token or len(token) > 100 or not token.isascii():
        return None
    store, now = request.config_dict[STORE], request.config_dict[CLOCK]()
    async with store.read() as conn:
        session = await select_session(conn, token, now)
    if session is not None and session.expires - now < SESSION_LIFE - RENEW_AFTER:
        async with store.begin() as conn:
            await renew_session(conn, token, now)
    return session


@public
async def start_page(_request: web.Request) -> web.StreamResponse:
    """The console's first page is the report."""
    raise web.HTTPSeeOther("/reports")


@public
async def choose_console_language(request: web.Request) -> web.StreamResponse:
    """Remember the language that was chosen, and go back to the page it was chosen on."""
    form = await read_form(request)
    language = form.get("language", "")
    if language not in console_languages(request):
        raise UserError("There is no such language here.", 400)
    response = web.HTTPSeeOther(safe_next(form.get("next", "/")))
    set_cookie(request, response, LANGUAGE_COOKIE, language)
    raise response


ROUTES: list[web.RouteDef] = [
    web.get("/", start_page),
    *sign_in.ROUTES,
    web.post("/language", choose_console_language),
    web.get("/static/{name}", static_file),
]
