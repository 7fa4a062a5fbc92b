"""Where a thin router sends its phones: with a link that it signed, so that we know which device it is."""

from aiohttp import web

from captive.portal import cookie
from captive.portal.guest_web import DOOR, ENTRANCE, outside
from crm.web import SETTINGS, public, see_other


@public
async def enter(request: web.Request) -> web.StreamResponse:
    """Give the device its cookie and show it the first page; never a page elsewhere, whatever was asked for."""
    asked = (request.query.get(name, "") for name in ("r", "d", "u", "s"))
    made = await request.app[DOOR].enter(*asked)
    if made is None:
        return outside(request, request.app[SETTINGS])
    response = see_other("/")
    response.set_cookie(cookie.NAME, made, httponly=True, secure=True, samesite="Lax")
    return response


ROUTES = [web.get(ENTRANCE, enter)]
