"""``wificrm announcement``: announcements from the command line."""

import argparse

import pytest

from campaigns import command
from campaigns.store import select_announcement, select_announcements
from crm.settings import Network, Settings
from crm.store import Store
from tests.console_app import fill

ADD = ("add", "--title-vi", "Nghỉ lễ", "--body-vi", "Trung tâm nghỉ.")


async def run(store: Store, *argv: str, networks: tuple[str, ...] = ("guest",)) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    settings = Settings(networks=tuple(Network(name=name) for name in networks))
    return await command.run(parser.parse_args(argv), store, settings)


@pytest.fixture(autouse=True)
async def venues(store: Store) -> None:
    await fill(store)


async def test_one_is_added_listed_and_changed_in_part(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(store, *ADD, "--from", "2026-11-02", "--to", "2026-11-05", "--urgent") == 0
    assert await run(store, "edit", "1", "--title-en", "Holiday", "--body-en", "Closed.", "--to", "") == 0
    async with store.read() as conn:
        found = await select_announcement(conn, 1, "DEMO-P01")
    assert found is not None
    assert found.texts == {
        "vi": {"title": "Nghỉ lễ", "body": "Trung tâm nghỉ."},
        "en": {"title": "Holiday", "body": "Closed."},
    }
    assert (found.starts.isoformat(), found.ends, found.urgent) == ("2026-11-02", None, True)
    assert await run(store, "edit", "1", "--no-urgent") == 0
    capsys.readouterr()
    assert await run(store, "list") == 0
    listed = capsys.readouterr().out
    assert "Nghỉ lễ" in listed
    assert "en/vi" in listed
    assert "urgent" not in listed


async def test_one_is_shown_on_some_networks_only(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    async def networks() -> tuple[str, ...]:
        async with store.read() as conn:
            (only,) = await select_announcements(conn, "DEMO-P01")
        return only.networks

    assert await run(store, *ADD, "--network", "guest", networks=("guest", "desks")) == 0
    assert await networks() == ("guest",)
    assert (
        await run(store, "edit", "1", "--network", "guest", "--network", "desks", networks=("guest", "desks"))
        == 0
    )
    assert await networks() == ("desks", "guest")
    assert await run(store, "list") == 0
    assert "on desks, guest;" in capsys.readouterr().out
    # One that the settings do not know any more stays until it is taken away.
    assert await run(store, "edit", "1", "--network", "desks", "--urgent") == 0
    assert await run(store, "edit", "1", "--no-urgent") == 0
    assert await networks() == ("desks",)
    assert await run(store, "edit", "1", "--network", "") == 0
    assert await networks() == ()


async def test_one_is_withdrawn_and_restored(store: Store) -> None:
    await run(store, *ADD)
    for verb, state in (("withdraw", True), ("restore", False)):
        assert await run(store, verb, "1") == 0
        async with store.read() as conn:
            (only,) = await select_announcements(conn, None)
        assert only.withdrawn is state


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (("add", "--title-vi", "Nghỉ"), 2, "--body-vi: Write the text."),
        ((*ADD, "--from", "2/11/2026"), 2, "--from: Choose the first day"),
        ((*ADD, "--from", "2026-11-02", "--to", "2026-11-01"), 2, "--to: The last day is before"),
        ((*ADD, "--network", "desks"), 2, "have no network desks; they have: guest"),
        ((*ADD, "--network", "Quầy 1"), 2, "is not the name of a network"),
        ((*ADD, "--title-km", "x", "--body-km", "y"), 2, "does not offer km"),
        ((*ADD, "--venue", "NO"), 1, "no centre NO in the store; it knows: DEMO-P01, DEMO-X02"),
        (("edit", "7", "--title-vi", "x"), 1, "has no announcement 7"),
        (("withdraw", "7"), 1, "has no announcement 7"),
        (("restore", "7"), 1, "has no announcement 7"),
    ],
)
async def test_what_cannot_be_done_is_told(
    store: Store, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], code: int, sentence: str
) -> None:
    assert await run(store, *argv) == code
    assert sentence in capsys.readouterr().err
    async with store.read() as conn:
        assert await select_announcements(conn, None) == []


async def test_an_announcement_of_another_venue_is_out_of_reach(store: Store) -> None:
    assert await run(store, *ADD) == 0
    assert await run(store, "withdraw", "1", "--venue", "DEMO-X02") == 1
