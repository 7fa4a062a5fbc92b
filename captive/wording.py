"""Amounts as people read them."""

from crm.words import Words


def duration(words: Words, language: str, minutes: int) -> str:
    """*minutes* in words: ``3 h 20 min``."""
    if minutes < 60:
        return words.say(language, "{minutes} min", minutes=minutes)
    if minutes % 60 == 0:
        return words.say(language, "{hours} h", hours=minutes // 60)
    return words.say(language, "{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)
