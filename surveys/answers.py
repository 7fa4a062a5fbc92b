"""What may be stored as an answer. Rules only, no I/O."""

import re
import unicodedata

from crm.errors import UserError
from surveys.masking import mask
from surveys.questions import Question

UNWANTED = frozenset({"Cc", "Cs", "Co", "Cn"})
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of text: in a table of comments they would turn the neighbours, too."""


def check_answer(question: Question, raw: str) -> str:
    """What is stored for *raw*: the option's key, or the masked comment ("": no answer).

    Raises `UserError` for an option that the question does not have and for a comment that is too long.
    """
    if question.kind != "comment":
        if any(option.key == raw for option in question.options):
            return raw
        raise UserError("Please choose one of the answers.", 400)
    comment = clean_comment(raw)
    if len(comment) > question.max_length:
        raise UserError("Please shorten your comment to {limit} letters.", 400, limit=question.max_length)
    return mask(comment)


def clean_comment(raw: str) -> str:
    """*raw* without control characters and turning marks, in composed form (NFC), blank edges cut."""
    text = unicodedata.normalize("NFC", raw.replace("\r\n", "\n").replace("\r", "\n"))
    kept = "".join(
        c for c in text if c in "\n\t" or (unicodedata.category(c) not in UNWANTED and c not in TURNING)
    )
    return re.sub(r"\n{3,}", "\n\n", kept).strip()
