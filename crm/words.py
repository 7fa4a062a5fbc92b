"""The words of every page, in every language: gettext catalogues through Babel.

An English sentence is its own key. Catalogues are the ``locales/<language>.po`` files; they are
compiled in memory when the program starts, so a translator changes a text file and restarts.
"""

import functools
import gettext
import io
from collections.abc import Mapping
from importlib import resources

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SOURCE = "en"
"""The language the keys themselves are written in."""

MAIN = "vi"
"""The language that stands in for what a draft has no words for."""

NAMES: Mapping[str, str] = {"vi": "Tiếng Việt", "en": "English", "km": "ភាសាខ្មែរ"}
"""What speakers of a language call it; every language that a catalogue exists for."""

DRAFTS = frozenset({"km"})
"""Languages no native reader has signed off yet: offered only where the settings list them."""


class Words:
    """All catalogues, loaded once."""

    def __init__(self, catalogues: Mapping[str, gettext.NullTranslations]) -> None:
        self._catalogues = dict(catalogues)

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language there is a catalogue for."""
        return tuple(self._catalogues)

    def catalogue(self, language: str) -> gettext.NullTranslations:
        """The catalogue of *language*; the source language's where there is none."""
        return self._catalogues.get(language, self._catalogues[SOURCE])

    def say(self, language: str, message: str, /, **values: object) -> str:
        """*message* in *language*, its ``{placeholders}`` filled with *values*."""
        text = self.catalogue(language).gettext(message)
        return text.format(**values) if values else text


def load_words() -> Words:
    """Read the shipped catalogues. A broken one raises ValueError with file and line."""
    catalogues: dict[str, gettext.NullTranslations] = {}
    for language in NAMES:
        if language == SOURCE:
            catalogues[language] = gettext.NullTranslations()
            continue
        with resources.files("crm").joinpath(f"locales/{language}.po").open("rb") as file:
            catalogue = read_po(file, locale=language, abort_invalid=True)
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        catalogues[language] = gettext.GNUTranslations(compiled)
    for draft in DRAFTS:
        # Whoever reads a draft lives in Viet Nam: what it lacks is said in Vietnamese rather than in English.
        catalogues[draft].add_fallback(catalogues[MAIN])
    return Words(catalogues)


@functools.lru_cache(maxsize=512)
def choose_language(accept: str, offered: tuple[str, ...]) -> str:
    """The best of *offered* for an ``Accept-Language`` header (RFC 9110 section 12.5.4).

    Only the first 200 characters count. Without a match the venue's first language wins.
    """
    wanted: list[tuple[float, int, str]] = []
    for position, part in enumerate(accept[:200].split(",")):
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        wanted.append((-quality, position, tag.split("-")[0].lower()))
    for quality, _, language in sorted(wanted):
        if quality < 0 and language in offered:
            return language
    return offered[0]
