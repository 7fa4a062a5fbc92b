"""The report for staff: choose a centre and a period, read the figures, take them along as a file."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import hdrs, web

from crm.console import render_console
from crm.errors import UserError
from crm.frame import console_language
from crm.staff import Staff, current_staff, staff_only
from crm.times import local_moment, need_sound
from crm.web import CLOCK, SECURITY_HEADERS, SETTINGS, STORE, Handler
from surveys.periods import presets, read_day, read_period
from surveys.questions import Texts, in_language
from surveys.report_job import FORMATS, Job
from surveys.report_view import report_view
from surveys.results import build_report, select_centres

TIME_LIMIT = 120
"""Seconds that writing a file may take."""

PIECE = 64 * 1024
"""Bytes of a file that are in memory at once."""

CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@staff_only("official")
async def report_page(request: web.Request) -> web.StreamResponse:
    """The figures of one centre, or of all that this account covers."""
    staff, language, today = current_staff(request), console_language(request), _today(request)
    typed = _typed(request, today)
    async with request.config_dict[STORE].read() as conn:
        centres = _covered(staff, await select_centres(conn))
        chosen = _chosen(request, centres)
        shown, error = None, None
        try:
            first, last = read_period(typed["from"], typed["to"])
            report = await build_report(conn, chosen, first, last, now=request.config_dict[CLOCK]())
            shown = report_view(report, language)
        except UserError as problem:
            error = problem
    return render_console(
        request,
        "surveys/report.html",
        status=error.status if error else 200,
        centres=[(code, in_language(names, language)) for code, names in centres.items()],
        venue=chosen[0] if len(chosen) == 1 else "",
        typed={name: _for_input(raw) for name, raw in typed.items()},
        presets=presets(today),
        formats=FORMATS,
        error=error,
        report=shown,
    )


def make_download() -> Handler:
    """The handler that hands out report files, one at a time for each account."""
    busy: set[int] = set()

    @staff_only("official")
    async def download(request: web.Request) -> web.StreamResponse:
        """The report as a file, written by a process of its own."""
        staff, typed = current_staff(request), _typed(request, _today(request))
        form = request.query.get("format", "")
        if form not in FORMATS:
            raise UserError("Choose one of the formats on the report page.", 400)
        first, last = read_period(typed["from"], typed["to"])
        async with request.config_dict[STORE].read() as conn:
            chosen = _chosen(request, _covered(staff, await select_centres(conn)))
        place = chosen[0] if len(chosen) == 1 else "tat-ca"
        async with _turn(busy, staff), _folder() as folder:
            path = folder / f"bao-cao-{place}-{first}-{last}.{form}"
            dsn = request.config_dict[SETTINGS].store.crm
            need_sound(request.config_dict[CLOCK]())
            await _write(Job(dsn, tuple(chosen), first, last, form, str(path)))
            return await _send(request, path)

    return download


@contextlib.asynccontextmanager
async def _turn(busy: set[int], staff: Staff) -> AsyncIterator[None]:
    if staff.id in busy:
        raise UserError("Your last report is still being made. Please wait a moment and try again.", 429)
    busy.add(staff.id)
    try:
        yield
    finally:
        busy.discard(staff.id)


async def _send(request: web.Request, path: Path) -> web.StreamResponse:
    """Send the file at *path* piece by piece; it may go as soon as this returns."""
    headers = {
        **SECURITY_HEADERS,
        hdrs.CONTENT_TYPE: CONTENT_TYPES[path.suffix],
        hdrs.CONTENT_LENGTH: str(path.stat().st_size),
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{path.name}"',
        hdrs.CACHE_CONTROL: "no-store",
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE):
            await response.write(piece)
    await response.write_eof()
    return response


@contextlib.asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wificrm-report-") as name:
        yield Path(name)


async def _write(job: Job) -> None:
    """Have a process of its own write the file. Raises `UserError` when it fails or takes too long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "surveys.report_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.wait_for(process.communicate(msgspec.json.encode(job)), TIME_LIMIT)
    except TimeoutError:
        raise UserError("The report takes too long. Please choose a shorter period.", 504) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UserError("The report could not be written. Please try again.", 503)


def _today(request: web.Request) -> date:
    zone = ZoneInfo(request.config_dict[SETTINGS].venue.timezone)
    return local_moment(request.config_dict[CLOCK](), zone).day


def _typed(request: web.Request, today: date) -> dict[str, str]:
    """The two days as they were typed; this month so far when nothing was."""
    usual = presets(today)[0]
    if "from" not in request.query and "to" not in request.query:
        return {"from": usual.first.isoformat(), "to": usual.last.isoformat()}
    return {name: request.query.get(name, "")[:40] for name in ("from", "to")}


def _for_input(raw: str) -> dict[str, str]:
    """How a form gives a day back: as a day, or as the text it was when it is none."""
    day = read_day(raw)
    return {"type": "date", "value": day.isoformat()} if day else {"type": "text", "value": raw}


def _covered(staff: Staff, centres: Mapping[str, Texts]) -> dict[str, Texts]:
    return {code: names for code, names in centres.items() if staff.covers(code)}


def _chosen(request: web.Request, centres: Mapping[str, Texts]) -> list[str]:
    """The centres asked for: one, or all that are covered. Raises `UserError` 404."""
    asked = request.query.get("venue", "")
    if asked and asked not in centres:
        raise UserError("There is no such centre here.", 404)
    return [asked] if asked else list(centres)


ROUTES: list[web.RouteDef] = [
    web.get("/reports", report_page),
    web.get("/reports/download", make_download()),
]
