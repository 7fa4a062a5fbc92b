"""A portal that serves thin routers only, over real TLS, and phones behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.captive.portal_app import Clock
from tests.captive.routers.thin_portal import ThinPortal, thin_portal
from tests.lab.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="session")
def pair(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("portal", "portal.lab")


@pytest.fixture
async def portal(tmp_path: Path, authority: Authority, pair: tuple[Path, Path]) -> AsyncIterator[ThinPortal]:
    async with thin_portal(tmp_path, Clock(), authority, pair) as served:
        yield served
