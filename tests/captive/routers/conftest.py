"""A portal that serves thin routers only, over real TLS, and phones behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import captive.app
import captive.grants.grants
from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import NAME, ThinPortal, thin_portal
from tests.lab.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="session")
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("portal", NAME)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal looks at everything ten times a second, so that nobody waits for it here."""
    monkeypatch.setattr(captive.app, "TICK", 0.1)
    monkeypatch.setattr(captive.grants.grants, "COUNT_EVERY", 0.1)


@pytest.fixture
async def portal(tmp_path: Path, authority: Authority, pair: tuple[Path, Path]) -> AsyncIterator[ThinPortal]:
    async with thin_portal(tmp_path, Clock(), authority, pair) as served:
        yield served
