"""A report in the words and figures of a reader: what the page's template prints. Rules only, no I/O."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from babel.dates import format_date
from babel.numbers import format_decimal

from surveys.questions import in_language
from surveys.report import Comment, Funnel, QuestionResult, Report, Total, VenueResult
from surveys.scores import TEMPLATES

COMMENTS_SHOWN = 50
"""Comments on the page; the files hold all."""


class View:
    """Writes figures in one language; "" stands for "not enough data", the template words it."""

    def __init__(self, language: str) -> None:
        self.language = language

    def count(self, n: int | None) -> str:
        """A whole number: 12.345 in Vietnamese."""
        return "" if n is None else str(format_decimal(n, locale=self.language))

    def percent(self, value: Decimal | None) -> str:
        """A percentage with two decimals: 83,94 %."""
        return (
            ""
            if value is None
            else f"{format_decimal(value, format='#,##0.00', locale=self.language)}\N{NO-BREAK SPACE}%"
        )

    def change(self, value: Decimal | None) -> str:
        """A change in percentage points: +1,28."""
        return (
            ""
            if value is None
            else str(format_decimal(value, format="+#,##0.00;-#,##0.00", locale=self.language))
        )

    def day(self, day: date) -> str:
        """A day: 31/10/2026."""
        pattern = "dd/MM/yyyy" if self.language == "vi" else "d MMM yyyy"
        return str(format_date(day, pattern, locale=self.language))

    def month(self, day: date) -> str:
        """A month: 10/2026."""
        return str(format_date(day, "MM/yyyy" if self.language == "vi" else "MMM yyyy", locale=self.language))

    def text(self, texts: Mapping[str, str]) -> str:
        """A text in the reader's language."""
        return in_language(texts, self.language)


def report_view(report: Report, language: str) -> dict[str, Any]:
    """What the page shows: notes, one centre in full, or the table of several."""
    view = View(language)
    template = TEMPLATES[report.template]
    shown: dict[str, Any] = {
        "first": view.day(report.first),
        "last": view.day(report.last),
        "demo": report.demo,
        "whole_months": report.whole_months,
        "template": f"{view.text(template.names)} ({template.id})",
        "empty": not any(venue.funnel.shown or venue.funnel.started for venue in report.venues),
        "centre": None,
        "units": [],
        "total": None,
    }
    if len(report.venues) == 1:
        shown["centre"] = _centre(report.venues[0], view)
    else:
        shown["units"] = [_unit(venue, view) for venue in report.venues]
        shown["total"] = _total(report.total, view) if report.total else None
    return shown


def _centre(venue: VenueResult, view: View) -> dict[str, Any]:
    overall = venue.overall
    return {
        "name": view.text(venue.names),
        "enough": venue.enough,
        "headline": _headline(overall, venue.change, view) if overall else None,
        "steps": _steps(venue.funnel, view),
        "rate": view.percent(venue.funnel.rate),
        "questions": [_question(question, view) for question in venue.questions],
        "trend": [
            {
                "month": view.month(month.month),
                "n": view.count(month.n),
                "percent": view.percent(month.top_two.percent if month.top_two else None),
                "width": _width(month.top_two.percent if month.top_two else None),
            }
            for month in venue.trend
        ],
        "comments": [_comment(comment, view) for comment in venue.comments[-COMMENTS_SHOWN:][::-1]],
        "comments_all": view.count(len(venue.comments)),
        "more_comments": len(venue.comments) > COMMENTS_SHOWN,
        "versions": [
            f"{version.questionnaire}/{version.number} ({view.day(version.published)})"
            for version in venue.versions
        ],
    }


def _headline(question: QuestionResult, change: Decimal | None, view: View) -> dict[str, str]:
    share = question.top_two
    return {
        "question": view.text(question.texts),
        "n": view.count(question.n_valid),
        "satisfied": view.percent(share.percent if share else None),
        "low": view.percent(share.low if share else None),
        "high": view.percent(share.high if share else None),
        "mean": view.percent(question.mean),
        "change": view.change(change),
    }


def _steps(funnel: Funnel, view: View) -> list[dict[str, str]]:
    steps = (
        ("Portal shown", funnel.shown),
        ("First question answered", funnel.started),
        ("Completed", funnel.completed),
        ("Skipped", funnel.skipped),
    )
    return [
        {
            "name": name,
            "n": view.count(n),
            "width": _width(Decimal(100 * n) / funnel.shown if n is not None and funnel.shown else None),
        }
        for name, n in steps
    ]


def _question(question: QuestionResult, view: View) -> dict[str, Any]:
    return {
        "key": question.key,
        "text": view.text(question.texts),
        "scale": question.kind == "scale",
        **_headline(question, None, view),
        "n": view.count(question.n),
        "n_valid": view.count(question.n_valid),
        "options": [
            {
                "text": view.text(option.texts),
                "n": view.count(option.n),
                "percent": view.percent(option.percent),
                "width": _width(option.percent),
            }
            for option in question.options
        ],
    }


def _unit(venue: VenueResult, view: View) -> dict[str, str]:
    overall, funnel = venue.overall, venue.funnel
    share = overall.top_two if overall else None
    return {
        "code": venue.code,
        "name": view.text(venue.names),
        "shown": view.count(funnel.shown),
        "started": view.count(funnel.started),
        "rate": view.percent(funnel.rate),
        "n": view.count(overall.n_valid if overall else None),
        "satisfied": view.percent(share.percent if share else None),
        "low": view.percent(share.low if share else None),
        "high": view.percent(share.high if share else None),
        "mean": view.percent(overall.mean if overall else None),
        "change": view.change(venue.change),
        "width": _width(share.percent if share else None),
    }


def _total(total: Total, view: View) -> dict[str, str]:
    return {
        "venues": view.count(total.venues),
        "shown": view.count(total.shown),
        "started": view.count(total.started),
        "rate": view.percent(total.rate),
        "n": view.count(total.n_valid),
        "satisfied": view.percent(total.top_two.percent),
        "low": view.percent(total.top_two.low),
        "high": view.percent(total.top_two.high),
        "mean": view.percent(total.mean),
    }


def _comment(comment: Comment, view: View) -> dict[str, str]:
    return {"month": view.month(comment.month), "text": comment.text}


def _width(percent: Decimal | None) -> str:
    """The length of a bar, 0 to 100; "" when there is none to draw."""
    return "" if percent is None else f"{min(percent, Decimal(100)):.1f}"
