"""A guest's way through the portal without script: from a page somebody wants to *You are online*."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.lab.client import Answer, Client
from tests.lab.page import Form, Page

WANTED = "http://neverssl.example/"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en"}


class Visit(NamedTuple):
    """How a visit went: the page at its end, what was answered, whether it ended with *Skip*."""

    page: Page
    given: dict[str, str]
    skipped: bool


def open_portal(phone: Client, *, language: str = "en", family: int = 4) -> Page:
    """Ask for a page of the Internet, follow the portal's redirects: its first page."""
    headers = {**BROWSER, "Accept-Language": language}
    return page_of(
        phone.follow(phone.get(WANTED, headers=headers, family=family), headers=headers, family=family)
    )


def page_of(answer: Answer) -> Page:
    """The page in *answer*; it must be one (status 200)."""
    assert answer.status == 200, f"{answer.url}: {answer.status}: {answer.text[:300]}"
    return Page(answer.url, answer.text)


def send(phone: Client, page: Page, form: Form, value: str | None = None, *, family: int = 4) -> Answer:
    """Send *form* with *value* chosen or typed; the answer itself, redirects not followed."""
    fields = dict(form.fields) if value is None else {**form.fields, "value": value}
    return phone.post(page.address(form.action), fields, family=family)


def answer_all(phone: Client, page: Page, plan: Mapping[str, str], *, family: int = 4) -> Visit:
    """Answer as *plan* says {question: value}, *Skip* at the first question that it leaves out; to the end."""
    given: dict[str, str] = {}
    while (form := page.survey) is not None:
        if form.question not in plan:
            assert page.skip is not None, "a page that asks must offer to skip"
            reply = send(phone, page, page.skip, family=family)
            return Visit(page_of(phone.follow(reply, family=family)), given, skipped=True)
        given[form.question] = plan[form.question]
        reply = send(phone, page, form, plan[form.question], family=family)
        assert reply.status == 303, f"{form.question}: {reply.status}: {reply.text[:300]}"
        page = page_of(phone.follow(reply, family=family))
    return Visit(page, given, skipped=False)


def skip(phone: Client, *, language: str = "en", family: int = 4) -> Visit:
    """Online without an answer."""
    return answer_all(phone, open_portal(phone, language=language, family=family), {}, family=family)


def is_online(phone: Client, *, family: int = 4) -> bool:
    """Whether the Internet itself answers the phone's probes, as Android asks them.

    A probe that is under way to the portal when the grant comes is reset: not online yet, phones ask again.
    """
    probes = ("http://connectivitycheck.gstatic.com/generate_204", "https://www.google.com/generate_204")
    try:
        return all(phone.get(url, family=family, timeout=5).status == 204 for url in probes)
    except OSError:
        return False
