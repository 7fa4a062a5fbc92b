"""The venue as fixtures: one for the whole run, and phones that nobody has seen before."""

from collections.abc import Callable, Iterator

import pytest

from tests.lab import namespace
from tests.lab.phone import Phone
from tests.lab.venue import Venue

NewPhone = Callable[[], Phone]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip whatever needs a venue where none can be built, with the reason in plain words."""
    if reason := namespace.missing():
        for item in items:
            if item.get_closest_marker("lab"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def venue() -> Iterator[Venue]:
    """A venue with a certificate, for the whole run; whoever breaks something in it mends it again."""
    with Venue() as built:
        yield built


@pytest.fixture
def new_phone(venue: Venue) -> Iterator[NewPhone]:
    """Makes phones that are on the Wi-Fi and not online; they go home after the test."""
    made: list[Phone] = []

    def make() -> Phone:
        phone = venue.phone()
        made.append(phone)
        phone.join()
        return phone

    yield make
    for phone in made:
        phone.close()
        venue.phones.remove(phone)


@pytest.fixture
def phone(new_phone: NewPhone) -> Phone:
    """A phone that is on the Wi-Fi and not online."""
    return new_phone()
