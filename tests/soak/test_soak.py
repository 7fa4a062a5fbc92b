"""The short form of the soak, and proof that it finds what it looks for; ``make soak`` is the long form."""

import asyncio

import pytest

from tests.lab.namespace import missing
from tests.soak.guests import QUICK_ENDS
from tests.soak.judge import breaches, table
from tests.soak.soak import Soak

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(missing()), reason=missing())]


def test_a_thousand_joins_leave_nothing_behind() -> None:
    outcome = asyncio.run(Soak(2, 500, rate=100, rest=3, troubled=1).run(within=300))
    found = breaches(outcome, rest=3)
    assert not found, "\n".join([*found, table(outcome)])
    done = outcome.done
    assert done["joins"] == 1000
    assert done["grants"] > 800
    for what in ("kicked", "extended", "idle", "spent", "expired under traffic", "left without a word"):
        assert done[what] > 5, f"{what}: {done[what]}"


def test_planted_leaks_are_found() -> None:
    """The portal keeps a list for each grant that ended, and forgets to forget visits at midnight."""
    outcome = asyncio.run(
        Soak(2, 200, rate=100, rest=0, troubled=0, ends=QUICK_ENDS, leak="some").run(within=240)
    )
    found = "\n".join(breaches(outcome, rest=0))
    assert "left in Door.visits" in found
    assert "objects more" in found
