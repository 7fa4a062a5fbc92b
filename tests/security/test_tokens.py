"""Cases 2 and 13: keys cannot be guessed or replayed, and first requests at once make one guest.

CVE-2023-38324 (openNDS: a key that everybody knows opens the door); coova 609 (two challenges at once).
"""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from crm.settings import Settings, secret
from tests.lab.loopback import Portal
from tests.security.conftest import NewStranger
from tests.security.stranger import SHELL, Stranger, assert_told, stored

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
WORKERS = 16


def forged(own: str) -> list[str]:
    """Tokens that are not ours: cut, longer, turned, one letter changed, at random."""
    chance = random.Random(2)
    flipped = [own[:at] + ("A" if own[at] != "A" else "B") + own[at + 1 :] for at in range(40)]
    guessed = ["".join(chance.choices(LETTERS, k=40)) for _ in range(50)]
    odd = ["", "x", own[:-1], own + "=", own[::-1], "A" * 40, "=" * 40, "é" * 40, "x" * 5000]
    return [*odd, *flipped, *guessed, *SHELL]


def test_forged_tokens_open_nothing(stranger: Stranger, portal: Portal) -> None:
    """Case 2."""
    before = stored(portal, "SELECT count(*) FROM response")
    for token in forged(stranger.token()):
        assert_told(stranger.post("/en/survey/A0", {"r": token, "value": "waiting"}), 400, 409)
        assert_told(stranger.get(f"/en/survey/A0?r={quote(token)}"), 400, 409)
    assert stored(portal, "SELECT count(*) FROM response") == before


@pytest.mark.parametrize("began", [False, True])
def test_a_token_overheard_is_worth_nothing_on_another_device(
    new_stranger: NewStranger, portal: Portal, *, began: bool
) -> None:
    """Case 2: bound to the device, also to one that has not begun an answer of its own."""
    owner, thief = new_stranger(), new_stranger()
    token = owner.token()
    assert owner.post("/en/survey/A0", {"r": token, "value": "done"}).status == 303
    if began:
        assert thief.post("/en/survey/A0", {"r": thief.token(), "value": "with"}).status == 303
    assert_told(thief.get(f"/en/survey/A0?r={token}"), 400, 409)
    assert_told(thief.post("/en/survey/A0", {"r": token, "value": "waiting"}), 400, 409)
    assert owner.post("/en/survey/A1", {"r": token, "value": "5"}).status == 303
    assert {"waiting"}.isdisjoint(
        a for (a,) in stored(portal, "SELECT json_extract(answers, '$.A0') FROM response")
    )


def test_no_two_devices_get_the_same_token(new_stranger: NewStranger) -> None:
    """Case 2: random, not counted."""
    tokens = [new_stranger().token() for _ in range(50)]
    assert len({token[:20] for token in tokens}) == 50


def test_there_is_no_secret_that_everybody_knows(tmp_path: Path) -> None:
    """Case 2: two boxes never sign alike, and nobody but the portal reads the key."""
    keys = [secret(Settings(secrets=str(tmp_path / name)), "forms") for name in ("one", "two")]
    assert keys[0] != keys[1]
    assert all(len(key) == 32 for key in keys)
    assert secret(Settings(secrets=str(tmp_path / "one")), "forms") == keys[0]
    assert (tmp_path / "one/forms").stat().st_mode & 0o077 == 0
    assert (tmp_path / "one").stat().st_mode & 0o077 == 0


def test_first_requests_at_once_are_one_guest(new_stranger: NewStranger) -> None:
    """Case 13: a phone opens several connections before anybody knows it."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(10):
            one = new_stranger()
            tokens = pool.map(Stranger.token, [one] * WORKERS)
            assert len(set(tokens)) == 1


def test_answers_at_once_are_one_response(stranger: Stranger, portal: Portal) -> None:
    """Case 13: a double tap, times eight."""
    before = stored(portal, "SELECT count(*) FROM response")[0][0]
    token = stranger.token()
    with ThreadPoolExecutor(WORKERS) as pool:
        send = lambda _: stranger.post("/en/survey/A0", {"r": token, "value": "done"}).status  # noqa: E731
        assert Counter(pool.map(send, range(WORKERS))) == {303: WORKERS}
    assert stored(portal, "SELECT count(*) FROM response")[0][0] == before + 1


def test_skips_at_once_are_one_skip(stranger: Stranger, portal: Portal) -> None:
    """Case 13: and they are counted once."""
    count = "SELECT coalesce(sum(n), 0) FROM daily_funnel WHERE step = 'skipped'"
    before = stored(portal, count)[0][0]
    stranger.token()
    with ThreadPoolExecutor(WORKERS) as pool:
        assert Counter(pool.map(lambda _: stranger.post("/en/skip").status, range(WORKERS))) == {303: WORKERS}
    assert stored(portal, count)[0][0] == before + 1
