"""A phone that roams, and a copied MAC."""

from hypothesis import given
from hypothesis import strategies as st

from captive.watch.roaming import FOLLOWED, MOVES, WITHIN, Place, Whereabouts

HALL, YARD, DESK = Place("guest", "wlan0"), Place("guest", "wlan1"), Place("desk", "eth1.20")
MAC = b"\x02\0\0\0\0\7"


def told(*seen: tuple[float, Place]) -> list[Place]:
    whereabouts = Whereabouts()
    return [other for at, place in seen if (other := whereabouts.see(MAC, place, at))]


def test_a_phone_that_roams_moves_once():
    assert told(*((float(at), HALL) for at in range(30)), *((float(at), YARD) for at in range(30, 60))) == []


def test_a_phone_between_two_radios_may_change_its_mind():
    """There and back every five seconds, for an hour."""
    assert told(*((float(at), HALL if at // 5 % 2 else YARD) for at in range(3600))) == []


def test_what_is_read_late_of_one_move_counts_once():
    late = [(10 + number / 100, HALL if number % 2 else YARD) for number in range(80)]
    assert told((0.0, HALL), *late, (11.0, YARD)) == []


def test_a_copied_mac_flaps():
    both = [(number / 5, HALL if number % 2 else YARD) for number in range(300)]
    found = told(*both)
    assert len(found) > 20
    assert set(found) == {HALL, YARD}
    assert told(*((at, DESK if place is HALL else place) for at, place in both))[0] in (DESK, YARD)


def test_both_have_to_be_awake():
    """The copy speaks, the owner sleeps: that looks like a phone that has moved."""
    assert told((0.0, HALL), *((float(at), YARD) for at in range(1, 100))) == []


@given(st.lists(st.floats(0, WITHIN - 1), max_size=MOVES))
def test_fewer_moves_than_it_takes_are_never_told(times: list[float]):
    seen = [
        (0.0, HALL),
        *((at, HALL if number % 2 else YARD) for number, at in enumerate(sorted(times)[: MOVES - 1])),
    ]
    assert told(*seen) == []


def test_strangers_with_ever_new_macs_take_no_more_memory():
    whereabouts = Whereabouts()
    for number in range(3 * FOLLOWED):
        whereabouts.see(number.to_bytes(6), HALL, float(number))
    assert len(whereabouts._paths) == FOLLOWED
