"""Personal numbers out of comments before anything is stored: phones, identity numbers, e-mail addresses.

Plain patterns on a folded copy of the text (all digits of Unicode as 0-9, invisible characters gone). The
matcher of the `phonenumbers` library was tried: it misses numbers grouped in an odd way, keycap digits, an O
for the zero and old 11-digit mobiles, which people do write. A test holds these patterns against that
library's own formats of Vietnamese numbers.

Personal beats pretty: what looks like a phone is masked. Dates (12.10.2026), amounts (84.500.000.000 đồng)
and hotlines (1900 xxxx) stay.
"""

import re
import unicodedata

PHONE = "[số điện thoại đã ẩn]"
IDENTITY = "[số giấy tờ đã ẩn]"
EMAIL = "[thư điện tử đã ẩn]"

_LOCAL = r"\w.!#$%&'*+/=?^`{|}~\-"  # before the @: atext of RFC 5322 section 3.2.3, letters of any script
_GAP = r"[ .\-()_]{0,3}"  # what people put between digits
_DIGIT = _GAP + "[0-9]"
# A Vietnamese number without its 0: mobiles 3, 5, 7, 8, 9 and eight more, landlines 2 and eight or nine more.
_SUBSCRIBER = rf"(?:[35789](?:{_DIGIT}){{8}}|2(?:{_DIGIT}){{8,9}})"
_FIRST = r"(?<![0-9])\(?"
_LAST = r"(?![0-9])"
_NOT_MONEY = r"(?! ?(?:đồng|đ|dong|vnd|vnđ|₫|tr|triệu|tỷ|tỉ|nghìn|ngàn|k)(?![^\W0-9_]))"
_DATE = re.compile(
    r"(?<![0-9])(?<![0-9][./\-])(?:0?[1-9]|[12][0-9]|3[01])([./\-])(?:0?[1-9]|1[0-2])\1(?:19|20)[0-9]{2}"
    r"(?![0-9])(?!\1[0-9])"
)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        # A mailbox, also with spaces around the @ when a dotted domain follows.
        _any(rf"(?<![{_LOCAL}])[{_LOCAL}]+(?:@[\w\-]+(?:\.[\w\-]+)*|[ ]?@[ ]?[\w\-]+(?:\.[\w\-]+)+)"),
        EMAIL,
    ),
    (
        # Citizen identity number: 12 digits, first a province (001-096), so a grouped one starts with 0.
        _any(rf"(?<!\+){_FIRST}(?:0(?:{_DIGIT}){{11}}|[0-9]{{12}}){_LAST}{_NOT_MONEY}"),
        IDENTITY,
    ),
    (
        _any(
            # Home or from abroad; mobiles had 11 digits, 01x, until 2018.
            rf"{_FIRST}(?:\+{_GAP}|00{_GAP})84{_GAP}(?:\(?0{_GAP})?{_SUBSCRIBER}{_LAST}",
            rf"{_FIRST}(?:0|(?<!\w)o){_GAP}(?:{_SUBSCRIBER}|1(?:{_DIGIT}){{9}}){_LAST}",
            rf"{_FIRST}84{_GAP}(?:0{_GAP})?{_SUBSCRIBER}{_LAST}{_NOT_MONEY}",
            # Any other country, written with its plus sign.
            rf"{_FIRST}\+{_GAP}[1-9](?:{_DIGIT}){{7,14}}{_LAST}{_NOT_MONEY}",
        ),
        PHONE,
    ),
    (
        # The old nine-digit identity card; an amount of nine digits has dots or its currency.
        _any(
            rf"{_FIRST}(?<![0-9][.,/\-])[0-9]{{3}} ?[0-9]{{3}} ?[0-9]{{3}}{_LAST}(?![ .,][0-9]){_NOT_MONEY}"
        ),
        IDENTITY,
    ),
)


def mask(text: str) -> str:
    """*text* with every phone number, identity number and e-mail address replaced by a word in brackets.

    Masking twice changes nothing more.
    """
    folded, places = _fold(text)
    for pattern, word in _PATTERNS:
        pieces, end = [], 0
        for match in pattern.finditer(folded):
            pieces += [text[end : places[match.start()]], word]
            end = places[match.end()]
        if pieces:
            text = "".join(pieces) + text[end:]
            folded, places = _fold(text)
    return text


def _fold(text: str) -> tuple[str, list[int]]:
    """*text* as the patterns read it, dates crossed out; the place in *text* of each character and of the end."""
    folded, places = [], []
    for place, character in enumerate(text):
        seen = character if " " <= character <= "~" else _seen(character)
        if seen:
            folded.append(seen)
            places.append(place)
    spared = _DATE.sub(lambda date: "x" * len(date[0]), "".join(folded))
    return spared, [*places, len(text)]


def _seen(character: str) -> str:
    """One character for what a reader sees; "" for what nobody sees."""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(character)
    if category in ("Cf", "Mn", "Me"):
        return ""
    if category == "Zs" or character == "\t":
        return " "
    if category == "Pd" or character == "−":
        return "-"
    if character in "·•∙‧・":
        return "."
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character
