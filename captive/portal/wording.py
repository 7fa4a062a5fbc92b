"""Amounts as people read them."""

from crm.words import Words


def duration(words: Words, language: str, minutes: int) -> str:
    """*minutes* in words that no line ends between: ``3 h 20 min``."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        text = words.say(language, "{minutes} min", minutes=rest)
    elif not rest:
        text = words.say(language, "{hours} h", hours=hours)
    else:
        text = words.say(language, "{hours} h {minutes} min", hours=hours, minutes=rest)
    return text.replace(" ", "\N{NO-BREAK SPACE}")
