"""What the tests of the portal share."""

import pytest

import captive.grants.ledger
import captive.portal.pages
import captive.routers.link
from tests.waiting import LONG


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which everything is tried at once may take longer than guests are kept waiting for it."""
    monkeypatch.setattr(captive.grants.ledger, "PATIENCE", LONG)
    monkeypatch.setattr(captive.portal.pages, "COUNT_SECONDS", LONG)
    monkeypatch.setattr(captive.routers.link, "PATIENCE", LONG)
