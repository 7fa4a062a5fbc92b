"""A year of made-up answers for six made-up centres, so that a demo has something to show.

Everything is drawn from a seed and carries the channel "demo", which every report names. No centre, person or rate
here is real: the distributions are chosen so that a report looks plausible.
"""

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from uuid import UUID

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from crm.store import Store
from crm.tables import daily_funnel, venue
from surveys.answers import check_answer
from surveys.counts import Kept, Tally, amend, comment_keys
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import find_question, reachable
from surveys.store import Version, publish, write_responses, write_tally

CHANNEL = "demo"
CONNECT = 0.35  # of visitors
SEEN = 0.97  # of those, the portal
ANSWER = 0.32  # of those, the first question
COMPLETE = 0.24  # of those who saw the portal, likewise the next two
COMMENT = 0.06
SKIP = 0.45
NO_OPINION = 0.03
MONDAY, OTHER_DAY = 1.4, 0.9
HOURS = {7: 14, 8: 24, 9: 22, 10: 12, 11: 4, 13: 6, 14: 8, 15: 6, 16: 4}  # morning peak, closed at noon
SERVED = {"done": 50, "waiting": 40, "with": 10}
USUAL = {"5": 46, "4": 38, "3": 10, "2": 4, "1": 2}
BAD = {"5": 18, "4": 30, "3": 20, "2": 20, "1": 12}
IMPROVE = {"waiting": 28, "guidance": 16, "attitude": 7, "facilities": 14, "ontime": 10, "nothing": 25}
COMMENTS = {
    "vi": (
        "Nhân viên hướng dẫn rất tận tình.",
        "Chờ lâu quá, nên có thêm ghế ngồi.",
        "Giấy hẹn ghi ngày trả không đúng.",
        "Máy lấy số bị hỏng.",
        "Mong có hướng dẫn bằng tiếng Khmer.",
        "Nên có thêm quạt ở khu vực chờ.",
        "Cán bộ giải thích dễ hiểu, cảm ơn.",
        "Biển chỉ dẫn hơi nhỏ, người lớn tuổi khó đọc.",
        "Nộp hồ sơ trực tuyến còn khó, mong được giúp tại quầy.",
        "Bãi giữ xe hơi chật.",
    ),
    "en": (
        "Staff were very helpful.",
        "Waited too long; add seats.",
        "The date on my slip was wrong.",
        "The queue machine is broken.",
        "Please add guidance in Khmer.",
    ),
    "km": (),
}
WITH_NUMBERS = (
    "Hồ sơ của tôi chưa xong, xin gọi lại số 0912 345 678.",
    "Đề nghị gọi cho tôi theo số +84 987.654.321, cảm ơn.",
    "Máy lấy số bị hỏng, liên hệ 0292 3 812 345 để sửa.",
)


class Centre(msgspec.Struct, frozen=True):
    """A made-up centre."""

    code: str
    names: dict[str, str]
    visitors: int  # a day
    languages: dict[str, int]  # language -> share of guests who choose it
    accent: str


def _names(kind: str, name: str, english: str) -> dict[str, str]:
    return {
        "vi": f"Trung tâm Phục vụ hành chính công {kind} {name}",
        "en": f"{name} {english} Public Administrative Service Centre",
    }


CENTRES = (
    Centre("DEMO-T01", _names("tỉnh", "Sông Xanh", "Province"), 900, {"vi": 95, "en": 3, "km": 2}, "#0b5cad"),
    Centre("DEMO-P01", _names("phường", "Bến Đò", "Ward"), 220, {"vi": 96, "en": 4}, "#0b5cad"),
    Centre("DEMO-X01", _names("xã", "Đồng Lúa", "Commune"), 60, {"vi": 98, "km": 2}, "#2e6b1f"),
    Centre("DEMO-X02", _names("xã", "Phum Sen", "Commune"), 45, {"vi": 95, "km": 5}, "#8a3b12"),
    Centre("DEMO-X03", _names("xã", "Núi Mây", "Commune"), 35, {"vi": 100}, "#2e6b1f"),
    Centre("DEMO-D01", _names("đặc khu", "Hòn Sao", "Special Zone"), 80, {"vi": 94, "en": 6}, "#155e75"),
)
BAD_MONTH = ("DEMO-P01", 3)
"""The centre that has a bad month, and how many months before the last one."""


async def fill(
    store: Store,
    last_day: date,
    *,
    seed: int = 1,
    months: int = 12,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Give every demo centre *months* months of answers that end on *last_day*.

    A centre is written in one transaction, and one that has demo answers is left as it is: stopping half way
    and starting again is harmless. *progress* hears (days done, days in all).
    """
    starts = [_months_before(last_day, back) for back in range(months - 1, -1, -1)]
    spans = [(first, min(_months_before(first, -1) - timedelta(days=1), last_day)) for first in starts]
    days = (last_day - starts[0]).days + 1
    for place, centre in enumerate(CENTRES):
        async with store.begin() as conn:
            version = await _open_centre(conn, centre, starts[0])
            if version is None:
                continue
            for first, last in spans:
                await _fill_month(
                    conn, centre, version, first, last, seed, bad=_is_bad(centre, first, last_day)
                )
                progress(place * days + (last - starts[0]).days + 1, days * len(CENTRES))
    progress(days * len(CENTRES), days * len(CENTRES))


def _months_before(day: date, months: int) -> date:
    """The first of the month that lies *months* before the one of *day*."""
    count = day.year * 12 + day.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


def _is_bad(centre: Centre, month: date, last_day: date) -> bool:
    return centre.code == BAD_MONTH[0] and month == _months_before(last_day, BAD_MONTH[1])


async def _open_centre(conn: AsyncConnection, centre: Centre, day: date) -> Version | None:
    """The version that *centre* asks; None when it has been filled before."""
    filled = select(daily_funnel.c.n).where(
        daily_funnel.c.venue == centre.code, daily_funnel.c.channel == CHANNEL
    )
    if await conn.scalar(filled.limit(1)) is not None:
        return None
    if await conn.scalar(select(venue.c.code).where(venue.c.code == centre.code)) is None:
        await conn.execute(
            insert(venue).values(
                code=centre.code, names=centre.names, languages=list(centre.languages), accent=centre.accent
            )
        )
    return await publish(conn, centre.code, load_questionnaire("nhanh"), day)


async def _fill_month(
    conn: AsyncConnection, centre: Centre, version: Version, first: date, last: date, seed: int, *, bad: bool
) -> None:
    draw = random.Random(f"{seed} {centre.code} {first}")  # noqa: S311 - made-up data, not a secret
    tally = Tally()
    responses: list[Kept] = []
    for day in _working_days(first, last):
        busy = MONDAY if day.weekday() == 0 else OTHER_DAY
        for _ in range(round(centre.visitors * busy * CONNECT * SEEN * draw.uniform(0.85, 1.15))):
            kept = _visit(draw, centre, version, day, tally, bad=bad)
            if kept is not None:
                responses.append(kept)
    if centre.code == CENTRES[0].code and last.month % 4 == 1:
        _leave_number(WITH_NUMBERS[last.month // 4], version, responses, tally)
    await conn.run_sync(write_responses, responses)
    await conn.run_sync(write_tally, tally)


def _working_days(first: date, last: date) -> Iterator[date]:
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        if day.weekday() < 5:
            yield day


def _pick(draw: random.Random, shares: dict[str, int]) -> str:
    return draw.choices(list(shares), weights=list(shares.values()))[0]


def _visit(
    draw: random.Random, centre: Centre, version: Version, day: date, tally: Tally, *, bad: bool
) -> Kept | None:
    """One phone that saw the portal: counted, and answered perhaps."""
    hour = draw.choices(list(HOURS), weights=list(HOURS.values()))[0]
    kept = Kept(
        UUID(int=draw.getrandbits(128), version=4),
        centre.code,
        version.id,
        "",
        day,
        0 if hour < 12 else 1,
        CHANNEL,
        _pick(draw, centre.languages),
        False,
        {},
        comment_keys(version.questionnaire),
        version.questionnaire.key,
        new=True,
    )
    tally.funnel[(*kept.key, "shown")] += 1
    if draw.random() >= ANSWER:
        tally.funnel[(*kept.key, "skipped")] += int(draw.random() < SKIP / (1 - ANSWER))
        return None
    tally.start(kept, hour)
    tally.change(kept, _answers(draw, kept, version, tally, bad=bad))
    return kept


def _answers(draw: random.Random, kept: Kept, version: Version, tally: Tally, *, bad: bool) -> dict[str, str]:
    levels = BAD if bad else USUAL
    drawn = {
        "A0": _pick(draw, SERVED),
        "A1": "na" if draw.random() < NO_OPINION else _pick(draw, levels),
        "A2": _pick(draw, IMPROVE),
        "A3": "na" if draw.random() < NO_OPINION else _pick(draw, levels),
    }
    route = reachable(version.questionnaire, drawn)
    answers = {key: drawn[key] for key in route if key in drawn}
    if draw.random() >= COMPLETE / ANSWER:  # the phone was put away half way
        return dict(list(answers.items())[: draw.randrange(1, max(2, len(answers)))])
    tally.complete(kept)
    if draw.random() < COMMENT / COMPLETE and COMMENTS[kept.language]:
        answers["A4"] = draw.choice(COMMENTS[kept.language])
    return answers


def _leave_number(text: str, version: Version, responses: list[Kept], tally: Tally) -> None:
    """Somebody writes a phone number into a comment: what is stored went through the mask, as ever."""
    question = find_question(version.questionnaire, "A4")
    comment = check_answer(question, text)
    silent = (kept for kept in responses if kept.complete and "A4" not in kept.answers)
    for kept in silent:
        tally.change(kept, amend(version.questionnaire, kept.answers, "A4", comment)[0])
        return
