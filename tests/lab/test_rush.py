"""A thousand devices come within a minute: each gets its lease, its page and its way to the Internet."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.lab.crowd import Crowd
from tests.lab.gateway import BRIDGE
from tests.lab.rush import Wait, rush
from tests.lab.venue import Venue

pytestmark = pytest.mark.lab

SIZE = 1_000
WITHIN = 45.0
"""Seconds over which they come."""


class Scene(NamedTuple):
    """The venue after the rush."""

    venue: Venue
    crowd: Crowd
    waits: list[Wait]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Everybody came."""
    with contextlib.ExitStack() as stack:
        venue = stack.enter_context(Venue(prefix4=21))
        crowd = Crowd(venue.run, venue.gateway.namespace, BRIDGE, SIZE, venue.authority.certificate)
        stack.callback(crowd.close)
        context = ssl.create_default_context(cafile=venue.authority.certificate)
        yield Scene(venue, crowd, asyncio.run(rush(crowd, within=WITHIN, context=context)))


def test_everybody_is_online_without_an_error(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    for kind in ("lease", "page", "opened"):
        waits = sorted(getattr(wait, kind) for wait in scene.waits)
        record_property(f"{kind} p50", waits[SIZE // 2])
        record_property(f"{kind} p99", waits[SIZE * 99 // 100])
    assert Counter(wait.error for wait in scene.waits) == {"": SIZE}
    assert scene.venue.gateway.allowed().keys() == {device.mac for device in scene.crowd.devices}
    assert len({device.address4 for device in scene.crowd.devices}) == SIZE


def test_each_was_shown_the_survey_once(scene: Scene) -> None:
    assert scene.venue.gateway.funnel()["shown"] == SIZE


def test_nobody_complains(scene: Scene) -> None:
    for name in ("portal", "gate"):
        log = scene.venue.gateway.log(name)
        assert "Traceback" not in log
        assert "level='error'" not in log
        assert "level='warning'" not in log
