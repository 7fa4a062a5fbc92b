"""One portal for all cases (whatever one breaks, the next ones find), and strangers in front of it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import namespace
from tests.lab.loopback import Portal
from tests.security.stranger import TOUCHED, Stranger

NewStranger = Callable[[], Stranger]
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip whatever needs a venue where none can be built, with the reason in plain words."""
    if reason := namespace.missing():
        for item in items:
            if item.get_closest_marker("lab"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """The portal itself, as ``wificrm serve`` runs it."""
    made = Portal(tmp_path_factory.mktemp("portal"))
    made.start()
    yield made
    made.close()


@pytest.fixture
def new_stranger(portal: Portal) -> NewStranger:
    """Makes devices that the portal has never seen."""

    def make() -> Stranger:
        number = next(_numbers)
        return Stranger(portal, f"127.10.{number >> 8}.{number & 255}")

    return make


@pytest.fixture
def stranger(new_stranger: NewStranger) -> Stranger:
    """A device that the portal has never seen."""
    return new_stranger()


@pytest.fixture
def portal(served: Portal) -> Iterator[Portal]:
    """The portal; afterwards: nothing was executed, no error was logged, and a guest is served as ever."""
    Path(TOUCHED).unlink(missing_ok=True)
    before = len(served.log)
    yield served
    assert not Path(TOUCHED).exists()
    said = served.log[before:]
    assert "Traceback" not in said
    assert "File " not in said
    assert "a guest page failed" not in said
    assert "a console page failed" not in said
    number = next(_numbers)
    assert Stranger(served, f"127.11.{number >> 8}.{number & 255}").first_page().survey
