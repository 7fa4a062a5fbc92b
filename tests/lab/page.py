"""A guest page as a phone without script sees it: its language, forms and links."""

from html.parser import HTMLParser
from urllib.parse import urljoin


class Form:
    """One form: where it goes, what it carries along, which buttons it has."""

    def __init__(self, action: str, method: str) -> None:
        self.action = action
        self.method = method
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []  # (name, value); ("", "") for one that only sends

    @property
    def question(self) -> str:
        """The key of the question that this form answers; empty for any other form."""
        before, found, key = self.action.partition("/survey/")
        return key if found and before else ""

    @property
    def values(self) -> list[str]:
        """The values of its buttons: the options of a closed question."""
        return [value for name, value in self.buttons if name == "value"]


class Page(HTMLParser):
    """Give it a page's address and text."""

    def __init__(self, url: str, text: str) -> None:
        super().__init__()
        self.url = url
        self.language = ""
        self.title = ""
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self._open = ""
        self.feed(text)

    @property
    def text(self) -> str:
        """What there is to read."""
        return " ".join(" ".join(self.texts).split())

    @property
    def survey(self) -> Form | None:
        """The form that answers a question, if the page asks one."""
        return next((form for form in self.forms if form.question), None)

    @property
    def skip(self) -> Form | None:
        """The form that brings online without an answer."""
        return next((form for form in self.forms if form.action.endswith("/skip")), None)

    def address(self, link: str) -> str:
        """*link* of this page in full."""
        return urljoin(self.url, link)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open = tag
        if tag == "html":
            self.language = given.get("lang", "")
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
        elif tag == "input" and self.forms:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "textarea" and self.forms:
            self.forms[-1].fields[given["name"]] = ""
        elif tag == "button" and self.forms:
            self.forms[-1].buttons.append((given.get("name", ""), given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "title":
            self.title += data
        elif self._open not in ("style", "script"):
            self.texts.append(data)
