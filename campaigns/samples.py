"""The announcements of the demo venue."""

import tomllib
from datetime import date
from importlib import resources

from campaigns.announcements import Draft, tidy
from campaigns.store import insert_announcement, select_announcements
from crm.store import Store


def load_samples(day: date) -> list[Draft]:
    """The shipped announcements, shown from *day* on."""
    text = resources.files("campaigns").joinpath("samples.toml").read_text("utf-8")
    drafts = []
    for entry in tomllib.loads(text)["announcement"]:
        texts = {
            language: {"title": tidy(words["title"]), "body": tidy(words["body"], lines=True)}
            for language, words in entry.items()
            if isinstance(words, dict)
        }
        drafts.append(Draft(texts, day, None, entry.get("urgent", False)))
    return drafts


async def insert_samples(store: Store, venue: str, day: date) -> int:
    """Give *venue* the samples it does not have yet, shown from *day* on; returns how many were added."""
    async with store.begin() as conn:
        there = {each.texts.get("vi", {}).get("title") for each in await select_announcements(conn, venue)}
        missing = [draft for draft in load_samples(day) if draft.texts["vi"]["title"] not in there]
        for draft in reversed(missing):  # the first of the file is to stand first
            await insert_announcement(conn, venue, draft)
    return len(missing)
