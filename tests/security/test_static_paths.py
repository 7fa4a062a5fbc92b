"""Case 7: no file but those that are shipped, however the path is written.

nodogsplash CVE-2023-39120 (thread 623): ``GET /.%2e/%2e%2e/.../etc/passwd``.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import crm.static_files
from crm.static_files import static_file
from tests.security.stranger import Stranger, assert_told

OUT = [
    "/../../../../etc/passwd",
    "/.%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/..%5c..%5cetc%5cpasswd",
    "/..%252f..%252fetc%252fpasswd",
    "/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "/..%00/etc/passwd",
    "//etc/passwd",
    "/etc/passwd",
    "/en/../../etc/passwd",
    "/en/rules/../../../../etc/passwd",
    "/en/announcements/../../etc/passwd",
    "/.git/config",
    "/crm.db",
    "/wificrm.toml",
]
STATIC = [
    "/static/../../../../../../../../../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2fetc%2fpasswd",
    "/static//etc/passwd",
    "/static/..%2fweb.py",
    "/static/%2e%2e%2fweb.py",
    "/static/..%2flocales%2fvi.po",
    "/static/..%5cweb.py",
    "/static/console.css%00.svg",
    "/static/console.css/",
    "/static/.",
    "/static/..",
    "/static/",
]


@pytest.mark.parametrize("path", [*OUT, *STATIC])
@pytest.mark.parametrize("place", ["portal", "console"])
def test_paths_out_of_the_house(stranger: Stranger, path: str, place: str) -> None:
    """As they are, on a socket: no library tidies the path before it is sent."""
    reply = stranger.get(path, port=stranger.portal.console if place == "console" else 0)
    if place == "portal":
        assert_told(reply, 400, 404)
    assert reply.status in (400, 403, 404)
    for inside in ("root:", "import ", "msgid", "[store]"):
        assert inside not in reply.body


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://127.0.0.1/../../etc/passwd", "etc/passwd", "*"]
)
def test_targets_that_are_no_path(stranger: Stranger, target: str) -> None:
    for port in (0, stranger.portal.console):
        reply = stranger.get(target, port=port)
        assert reply.status in (0, 200, 302, 303, 400, 404)
        assert "root:" not in reply.body


async def test_what_is_not_shipped_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that lead out, hidden files, folders and other kinds, standing in the folder itself."""
    folder = tmp_path / "static"
    folder.mkdir()
    (tmp_path / "secret.css").write_text("secret")
    (folder / "plain.css").write_text("plain")
    (folder / "out.css").symlink_to(tmp_path / "secret.css")
    (folder / "password.css").symlink_to("/etc/passwd")
    (folder / "up.css").symlink_to(tmp_path, target_is_directory=True)
    (folder / "folder.css").mkdir()
    (folder / "notes.txt").write_text("secret")
    (folder / "key.pem").write_text("secret")
    monkeypatch.setattr(crm.static_files, "FOLDER", folder)
    for cache in (crm.static_files._names, crm.static_files._read):
        cache.cache_clear()
    app = web.Application()
    app.add_routes([web.get("/static/{name}", static_file)])
    try:
        async with TestClient(TestServer(app)) as client:
            served = {
                path.name: (await client.get(f"/static/{path.name}")).status for path in folder.iterdir()
            }
    finally:
        for cache in (crm.static_files._names, crm.static_files._read):
            cache.cache_clear()
    assert {name for name, status in served.items() if status == 200} == {"plain.css"}
    assert set(served.values()) == {200, 404}


async def test_a_name_with_folders_in_it_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the router made of the path: the handler itself climbs nowhere."""
    for name in ("../web.py", "/etc/passwd", "../static/console.css", "console.css\0", ""):
        request = SimpleNamespace(match_info={"name": name}, query={})
        with pytest.raises(web.HTTPNotFound):
            await static_file(request)  # type: ignore[arg-type]
