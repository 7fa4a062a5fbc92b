"""Thin routers: what portal and router say names no device, and figures tell nothing of who answered."""

import re
import time

import pytest

from tests.captive.metrics.scrapes import gained, read, value
from tests.lab import thin
from tests.lab.disk import spellings
from tests.lab.journey import answer_all, open_portal, skip
from tests.lab.thin import ThinVenue

pytestmark = [pytest.mark.lab, pytest.mark.skipif(bool(thin.missing()), reason=thin.missing() or "-")]

ALL = {"A0": "done", "A1": "5", "A2": "nothing", "A4": ""}
FRESH = 1.1
"""Seconds after which the figures are taken anew."""


def test_logs_and_figures_of_a_hall() -> None:
    with ThinVenue("hall1") as venue:
        portal, router = venue.portal, venue.routers[0]
        with venue.phone(router) as answering, venue.phone(router) as skipping:
            scrapes = [portal.told()]
            visit = answer_all(answering, open_portal(answering), ALL)
            assert "You are online" in visit.page.text
            time.sleep(FRESH)
            scrapes.append(portal.told())
            skip(skipping)
            time.sleep(FRESH)
            scrapes.append(portal.told())
            answering.get("https://portal.lab.example/enter?r=hall1&d=02:00:00:00:00:99&u=&s=0")

            before, answered, skipped = map(read, scrapes)
            assert value(before, "wificrm_router_connected", router="hall1") == 1
            assert value(skipped, "wificrm_grants_total", place="hall1", outcome="granted") == 2
            assert value(skipped, "wificrm_portal_shown_total", place="hall1") == 2
            joined = "wificrm_devices_joined_total"  # a router tells of who is there at its own pace
            assert {key: n for key, n in gained(before, answered).items() if key[0] != joined} == {
                key: n for key, n in gained(answered, skipped).items() if key[0] != joined
            }
            said = [*scrapes, *(log.read_text(errors="replace") for log in portal.logs)]
            said += [path.read_text(errors="replace") for path in router.home.glob("*.log")]
            assert len(said) >= 6
            assert "a router is here" in "".join(said)
            for text in said:
                for phone in (answering, skipping):
                    for name, octets in spellings(phone.mac, phone.address4).items():
                        assert octets not in text.encode(), name
                assert not re.search(r"(?i)\b[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}\b", text)
