"""The guest's survey: one question at a time, each answer saved before the next is asked."""

import asyncio
from collections.abc import Callable
from uuid import UUID
from zoneinfo import ZoneInfo

from aiohttp import web

from crm.errors import UserError
from crm.store import STORE_ERRORS, StoreBusyError
from crm.times import local_moment
from crm.web import (
    CLOCK,
    DOORKEEPER,
    GUEST_FRAME,
    SETTINGS,
    STORE,
    WORDS,
    html,
    public,
    read_form,
    render,
    see_other,
)
from surveys.answers import check_answer
from surveys.questions import (
    Question,
    in_language,
    next_question,
    previous_question,
    progress,
    question_to_repeat,
)
from surveys.store import Answer, Version, save_answers, select_answers

VERSION: web.AppKey[Callable[[str], Version]] = web.AppKey("VERSION")
"""The questionnaire version that is asked now on the network of that name."""

CHANNEL = "wifi"

STORE_SECONDS = 5.0
"""That a guest waits for the store."""
_UNSAVED = "Your answer could not be saved just now. You can send it again, or go online without answering."


@public
async def question_page(request: web.Request) -> web.Response:
    """Show one question, with the answer given before, if any."""
    token = request.query.get("r", "")
    response = request.app[DOORKEEPER].admit(request, token)
    return _show(request, _asked(request, _version(request)), token, await _given(request, response))


@public
async def save_answer(request: web.Request) -> web.StreamResponse:
    """Save one answer, then ask the next question, or bring the guest online after the last."""
    form = await read_form(request)
    door, version = request.app[DOORKEEPER], _version(request)
    question, token = _asked(request, version), form.get("r", "")
    response = door.admit(request, token)
    typed = form.get("value", "")
    try:
        value = check_answer(question, typed)
        answers = await _save(request, response, version, question, value)
    except UserError as error:
        given = await _given(request, response)
        return _show(request, question, token, given, error=error, typed=typed)
    language = request.match_info["language"]
    if value and question.key not in answers:  # what led there is gone: an older store was put back meanwhile
        return see_other(f"/{language}/survey/{version.questionnaire.questions[0].key}?r={token}")
    following = next_question(version.questionnaire, question.key, answers)
    if answers:
        resume = following or question_to_repeat(version.questionnaire, answers)
        door.answered(request, resume.key if resume else "", finished=following is None)
    if following is None:
        return await door.open(request, language)
    return see_other(f"/{language}/survey/{following.key}?r={token}")


async def _save(
    request: web.Request, response: UUID, version: Version, question: Question, value: str
) -> dict[str, str]:
    """Keep the answer; all answers of its response. Raises `UserError` when the store does not take it."""
    moment = local_moment(request.app[CLOCK](), ZoneInfo(request.app[SETTINGS].venue.timezone))
    answer = Answer(
        response=response,
        version=version,
        unit="",
        day=moment.day,
        daypart=moment.daypart,
        hour=moment.hour,
        channel=CHANNEL,
        language=request.match_info["language"],
        question=question.key,
        value=value,
        final=False,
    )
    try:
        answers: dict[str, str] = await request.app[STORE].write(save_answers, answer, within=STORE_SECONDS)
    except StoreBusyError:
        raise
    except STORE_ERRORS:
        raise UserError(_UNSAVED, 503) from None
    return answers


async def _given(request: web.Request, response: UUID) -> dict[str, str]:
    """What *response* has answered so far; nothing while the store cannot tell."""
    try:
        async with asyncio.timeout(STORE_SECONDS), request.app[STORE].read() as conn:
            return await select_answers(conn, response)
    except STORE_ERRORS:
        return {}


def _version(request: web.Request) -> Version:
    return request.app[VERSION](request.app[DOORKEEPER].guest(request).network)


def _asked(request: web.Request, version: Version) -> Question:
    key = request.match_info["question"]
    for question in version.questionnaire.questions:
        if question.key == key:
            return question
    raise UserError("This question is not asked any more. Please open the survey again.", 404)


def _show(
    request: web.Request,
    question: Question,
    token: str,
    answers: dict[str, str],
    *,
    error: UserError | None = None,
    typed: str | None = None,
) -> web.Response:
    language, questionnaire = request.match_info["language"], _version(request).questionnaire
    frame = request.app[GUEST_FRAME](request, language)
    before = previous_question(questionnaire, question.key, answers)
    step, of = progress(questionnaire, question.key, answers)
    answered = answers.get(question.key, "")
    page = render(
        request.app,
        "surveys/question.html",
        language,
        **frame,
        title=in_language(question.text, language),
        question=question,
        token=token,
        step=step,
        of=of,
        answered=answered,
        typed=answered if typed is None else typed,
        guest=request.app[DOORKEEPER].guest(request),
        back=f"/{language}/survey/{before.key}?r={token}" if before else "",
        error=request.app[WORDS].say(language, error.message, **error.values) if error else "",
    )
    return html(page, status=error.status if error else 200)


_QUESTION = "/{language:[a-z]{2,3}}/survey/{question:[A-Za-z0-9_]{1,32}}"
ROUTES = [web.get(_QUESTION, question_page), web.post(_QUESTION, save_answer)]
