"""Every guest page with sample content, rendered as the portal renders it."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from markupsafe import Markup

from captive.demo import PUBLIC_SERVICES
from captive.portal.door import Standing
from captive.portal.guest_web import guest_style
from crm.errors import UserError
from crm.opening_hours import in_spans, parse_hours
from crm.settings import ConnectionLogSection, Grant
from crm.web import TEMPLATES, WORDS, Guest, Notice, make_templates, render
from crm.words import load_words
from surveys.questionnaire_files import load_questionnaire
from surveys.questions import find_question, in_language

ACCENT = "#0b5cad"
TOKEN = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0NTY3"
NAMES = {
    "vi": "Trung tâm Phục vụ hành chính công phường Bến Đò",
    "en": "Bến Đò Ward Public Administrative Service Centre",
}
BODY = Markup(
    "<p>Mở cửa 07:00–11:30 và 13:30–17:00. Xem <a href='https://dichvucong.gov.vn'>dichvucong.gov.vn</a>.</p>"
    "<ul><li>Quầy 01: Hộ tịch, chứng thực</li><li>Quầy 06: Căn cước, cư trú</li></ul>"
)
NEWS = [
    Notice(1, "Nộp hồ sơ trực tuyến tại Cổng Dịch vụ công quốc gia", BODY, urgent=False),
    Notice(2, "Lịch làm việc: Thứ Hai – Thứ Sáu", BODY, urgent=False),
    Notice(
        3, "Cảnh giác lừa đảo: cán bộ không yêu cầu chuyển khoản vào tài khoản cá nhân", BODY, urgent=False
    ),
]
HOURS = in_spans(
    parse_hours(["mon-fri 07:00-11:30", "mon-fri 13:30-17:00", "sat 07:30-11:00", "sun-mon 18:00-24:00"])
)
NEWCOMER = Guest("V", "guest", TOKEN, asked_today=False, started=True, online=False)
SERVICES = PUBLIC_SERVICES
WARNING = Notice(
    4, "Mất điện lúc 15 giờ hôm nay", Markup("<p>Trung tâm ngừng nhận hồ sơ đến 16 giờ.</p>"), urgent=True
)


def make_app() -> web.Application:
    """As much of an application as a template sees."""
    app = web.Application()
    app[WORDS] = load_words()
    app[TEMPLATES] = make_templates(
        {name: name for name in ("crm", "surveys", "campaigns", "captive")}, app[WORDS]
    )
    app[TEMPLATES].globals["in_language"] = in_language
    return app


def make_frame(language: str, accent: str) -> dict[str, Any]:
    """What the frame of every guest page wants."""
    return {
        "venue_name": NAMES.get(language, NAMES["vi"]),
        "venue_phone": "0299 3812 345",
        "style": Markup(guest_style(accent)),
        "here": "",
        "languages": ("vi", "en", "km"),
        "title": "Wi-Fi",
    }


def question_page(questionnaire: str, key: str, language: str = "vi") -> str:
    """The page of one question of a shipped questionnaire."""
    question = find_question(load_questionnaire(questionnaire), key)
    values: dict[str, Any] = {"token": TOKEN, "step": 1, "of": 2, "answered": "", "back": "", "error": None}
    values |= {"typed": "", "guest": NEWCOMER}
    return render(
        make_app(),
        "surveys/question.html",
        language,
        **make_frame(language, ACCENT),
        **values,
        question=question,
    )


def guest_pages(language: str, accent: str = ACCENT) -> dict[str, str]:
    """Name -> HTML of every guest page, most in several states."""
    app, frame = make_app(), make_frame(language, accent)
    asked = load_questionnaire("nhanh")
    grant = Grant(total_mb=500, daily_minutes=200, daily_mb=900)
    opens = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)
    home: dict[str, Any] = {
        "question": find_question(asked, "A0"),
        "token": TOKEN,
        "urgent": [],
        "announcements": NEWS,
        "grant": grant,
        "hours": HOURS,
        "services": SERVICES,
        "standing": Standing("new"),
        "days_ahead": 3,
        "daily_time": "3 h 20 min",
        "demo": False,
    }
    later: dict[str, Any] = {"token": TOKEN, "of": 4, "answered": "", "error": None, "typed": ""}
    later["back"] = f"/{language}/survey/A0?r={TOKEN}"
    later["guest"] = NEWCOMER
    online: dict[str, Any] = {
        "continue_url": "",
        "announcements": [],
        "until": "16:30",
        "left": "3\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}20\N{NO-BREAK SPACE}min",
        "megabytes": "",
        "near_end": False,
        "longer_until": "",
        "obstacle": None,
        "answered": False,
        "offer": "new",
        "survey_url": f"/{language}/survey/A0?r={TOKEN}",
        "again_url": "",
        "refresh_url": "",
    }
    too_long = UserError("Please shorten your comment to {limit} letters.", 400, limit=1000)

    def page(template: str, **values: Any) -> str:
        return render(app, template, language, **{**frame, **values})

    def after_grant(**values: Any) -> str:
        return page("captive/online.html", **{**online, **values})

    def ask(key: str, step: int, **values: Any) -> str:
        return page(
            "surveys/question.html",
            **{**later, "question": find_question(asked, key), "step": step, **values},
        )

    return {
        "home": page("captive/home.html", **home),
        "home-urgent": page("captive/home.html", **{**home, "urgent": [WARNING], "demo": True}),
        "home-asked": page("captive/home.html", **{**home, "standing": Standing("asked")}),
        "home-spent": page("captive/home.html", **{**home, "standing": Standing("spent")}),
        "home-closed": page("captive/home.html", **{**home, "standing": Standing("closed", opens=opens)}),
        "home-used-up": page("captive/home.html", **{**home, "standing": Standing("used_up", asked=True)}),
        "home-blocked": page(
            "captive/home.html", **{**home, "standing": Standing("blocked", asked=True, started=True)}
        ),
        "scale": ask("A1", 2),
        "scale-again": ask("A1", 2, answered="4"),
        "choice": ask("A2", 3),
        "comment": ask("A4", 4),
        "comment-error": ask("A4", 4, error=too_long, typed="Chờ lâu quá, nên có thêm ghế ngồi. <b>" * 40),
        "scale-refused": ask("A1", 2, guest=msgspec.structs.replace(NEWCOMER, refused=True)),
        "online": after_grant(
            continue_url="http://neverssl.example/a?b=1", announcements=NEWS, answered=True
        ),
        "online-skipped": after_grant(
            refresh_url=f"/{language}/online?again=1", again_url=f"/{language}/another-phone", megabytes="350"
        ),
        "online-near-end": after_grant(near_end=True, longer_until="17:00", obstacle="closed", offer="again"),
        "venue": page(
            "captive/venue.html",
            announcements=NEWS,
            hours=HOURS,
            services=SERVICES,
            online=True,
            here="/venue",
        ),
        "rules": page(
            "captive/rules.html",
            here="/rules",
            minutes=60,
            connection_log=ConnectionLogSection(enabled=True),
            by_cookie=True,
        ),
        "outside": page("captive/outside.html"),
        "announcement": page("campaigns/announcement.html", announcement=NEWS[0], here="/announcements/1"),
        "error": page("crm/guest_error.html", sentence="Có lỗi xảy ra.", retry=f"/{language}", token=TOKEN),
    }
