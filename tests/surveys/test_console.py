"""The report page with three people looking at it, and the files it hands out."""

import asyncio
import csv
import datetime as dt
import io
import json
import random
import uuid
from collections.abc import AsyncIterator

import pytest
from openpyxl.reader.excel import load_workbook

from crm.settings import Settings, StoreSection
from crm.store import Store
from crm.web import SETTINGS
from surveys import report_job
from surveys.console import ROUTES
from surveys.questionnaire_files import load_questionnaire
from surveys.store import Answer, Step, count_steps, publish, save_answers
from tests.console_app import Client, Clock, add_people, fill, make_console, open_client, sign_in

PERIOD = "from=2026-11-01&to=2026-11-30"


async def answer_much(store: Store, code: str, n: int, comment: str = "", channel: str = "wifi") -> None:
    """*n* people who were served, most of them content."""
    draw = random.Random(code)
    async with store.begin() as conn:
        version = await publish(conn, code, load_questionnaire("nhanh"), dt.date(2026, 10, 1))
        batch = []
        for number in range(n):
            guest = uuid.UUID(int=draw.getrandbits(128), version=4)
            given = {"A0": "done", "A1": draw.choice("5544443"), "A2": draw.choice(["waiting", "nothing"])}
            if comment and number == 0:
                given["A4"] = comment
            day = dt.date(2026, 11, 2 + number % 5)
            batch += [
                Answer(guest, version, "", day, 0, 9, channel, "vi", question, value, question == "A2")
                for question, value in given.items()
            ]
            await conn.run_sync(count_steps, [Step(version, "", day, 0, channel, "vi", "shown")] * 3)
        await conn.run_sync(save_answers, batch)


@pytest.fixture
async def client(store: Store, sqlite_dsn: str) -> AsyncIterator[Client]:
    await fill(store)
    app = make_console(store, ROUTES, packages=("crm", "surveys"), clock=Clock())
    app[SETTINGS] = Settings(store=StoreSection(crm=sqlite_dsn))
    opened = await open_client(app)
    await add_people(opened)
    yield opened
    await opened.close()


async def page(client: Client, path: str, status: int = 200) -> str:
    answer = await client.get(path, allow_redirects=False)
    text = await answer.text()
    assert answer.status == status, text
    return text


async def test_a_stranger_sees_nothing(client: Client) -> None:
    for path in (f"/reports?{PERIOD}", f"/reports/download?{PERIOD}&format=csv"):
        assert (await client.get(path, allow_redirects=False)).status == 303


async def test_an_official_reads_his_centre_only(client: Client, store: Store) -> None:
    await answer_much(store, "DEMO-P01", 60)
    await answer_much(store, "DEMO-X02", 60)
    await sign_in(client, "nam")
    text = await page(client, f"/reports?{PERIOD}")
    assert "Centre DEMO-P01" in text
    assert "DEMO-X02" not in text
    await page(client, f"/reports?venue=DEMO-X02&{PERIOD}", 404)
    await page(client, f"/reports/download?venue=DEMO-X02&{PERIOD}&format=json", 404)
    answer = await client.get(f"/reports/download?{PERIOD}&format=json")
    assert [venue["code"] for venue in (await answer.json())["venues"]] == ["DEMO-P01"]


async def test_the_page_shows_figures_and_what_to_think_of_them(client: Client, store: Store) -> None:
    await answer_much(store, "DEMO-P01", 60, "Tốt <b>lắm</b>")
    await sign_in(client, "mai")
    text = await page(client, f"/reports?venue=DEMO-P01&{PERIOD}")
    assert "voluntary sample" in text
    assert "33.33\N{NO-BREAK SPACE}%" in text  # 60 of 180 portal pages
    assert "Tốt &lt;b&gt;lắm&lt;/b&gt;" in text
    assert "<svg" in text
    assert "style=" not in text  # the policy of the page forbids it
    assert "synthetic" not in text
    assert f"/reports/download?venue=DEMO-P01&amp;{PERIOD.replace('&', '&amp;')}&amp;format=xlsx" in text
    await answer_much(store, "DEMO-X02", 20, channel="demo")
    assert "synthetic" in await page(client, f"/reports?venue=DEMO-X02&{PERIOD}")


async def test_all_centres_stand_in_one_table(client: Client, store: Store) -> None:
    await answer_much(store, "DEMO-P01", 100)
    await answer_much(store, "DEMO-X02", 3)
    await sign_in(client, "mai")
    text = await page(client, f"/reports?{PERIOD}")
    assert "By centre" in text
    assert "not enough data" in text
    assert "Together" not in text  # one row alone adds up to itself


async def test_the_page_speaks_vietnamese(client: Client, store: Store) -> None:
    await answer_much(store, "DEMO-P01", 60)
    await sign_in(client, "nam")
    answer = await client.get(f"/reports?{PERIOD}", headers={"Accept-Language": "vi"})
    text = await answer.text()
    for words in (
        "Tỷ lệ hài lòng",
        "mẫu tự nguyện qua Wi-Fi",
        "33,33\N{NO-BREAK SPACE}%",
        "01/11/2026",
        "30/11/2026",
    ):
        assert words in text


async def test_bad_days_are_told_and_kept(client: Client) -> None:
    await sign_in(client, "nam")
    text = await page(client, "/reports?from=31/02/2026&to=2026-11-30", 400)
    assert 'type="text" value="31/02/2026"' in text
    assert "Choose the first day" in text
    assert 'value="2026-11-30"' in text
    assert "ends before it begins" in await page(client, "/reports?from=2026-11-30&to=2026-11-01", 400)
    assert "five years" in await page(client, "/reports?from=2001-01-01&to=2026-11-01", 400)
    for raw in ("", "0000-00-00", "9999-99-99", "2026-1-1", "%F0%9F%98%80", "<script>", "1" * 500):
        text = await page(client, f"/reports?from={raw}&to=2026-11-01", 400)
        assert "<script>" not in text
    text = await page(client, "/reports?from=1/10/2026&to=31/10/2026")
    assert 'type="date" value="2026-10-31"' in text
    await page(client, f"/reports/download?{PERIOD}&format=exe", 400)


async def test_an_empty_period_says_what_to_do(client: Client) -> None:
    await sign_in(client, "nam")
    text = await page(client, f"/reports?{PERIOD}")
    assert "Nobody has met the portal" in text
    assert "wificrm doctor" in text
    assert "This quarter" in text


async def test_a_file_is_handed_out_in_each_format(client: Client, store: Store) -> None:
    await answer_much(store, "DEMO-P01", 60, "=HYPERLINK(1)")
    await sign_in(client, "nam")
    bodies = {}
    for form in ("csv", "json", "xlsx"):
        answer = await client.get(f"/reports/download?{PERIOD}&format={form}")
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].endswith(f'2026-11-30.{form}"')
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        bodies[form] = await answer.read()
    rows = list(csv.reader(io.StringIO(bodies["csv"].decode("utf-8-sig")), delimiter=";"))
    assert next(row[4:7] for row in rows if row[4] == "Ý kiến") == ["Ý kiến", "11/2026", "'=HYPERLINK(1)"]
    assert json.loads(bodies["json"])["venues"][0]["funnel"]["started"] == 60
    book = load_workbook(io.BytesIO(bodies["xlsx"]))  # type: ignore[no-untyped-call]
    assert "IV. Ý kiến" in book.sheetnames


async def test_who_asks_twice_at_once_is_asked_to_wait(client: Client, store: Store, monkeypatch) -> None:
    await answer_much(store, "DEMO-P01", 10)
    await sign_in(client, "nam")
    path = f"/reports/download?{PERIOD}&format=xlsx"
    both = await asyncio.gather(client.get(path), client.get(path))
    assert sorted(answer.status for answer in both) == [200, 429]
    assert (await client.get(path)).status == 200


async def test_a_writer_that_fails_or_hangs_is_told(client: Client, store: Store, monkeypatch) -> None:
    await answer_much(store, "DEMO-P01", 10)
    await sign_in(client, "nam")
    path = f"/reports/download?{PERIOD}&format=csv"
    monkeypatch.setattr("surveys.console.TIME_LIMIT", 0)
    assert "takes too long" in await page(client, path, 504)
    monkeypatch.setattr("surveys.console.TIME_LIMIT", 60)
    monkeypatch.setattr("surveys.console.Job", lambda *job: report_job.Job("/nowhere/crm.db", *job[1:]))
    assert "could not be written" in await page(client, path, 503)
