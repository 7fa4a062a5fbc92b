"""Accounts, passwords, sessions and the limit on guessing."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from crm import tables
from crm.errors import UserError
from crm.staff import (
    SESSION_LIFE,
    Passwords,
    SignInLimit,
    check_name,
    check_password,
    delete_session,
    delete_staff,
    fold_name,
    insert_session,
    insert_staff,
    list_staff,
    renew_session,
    select_session,
    select_staff_by_name,
    set_password,
)
from crm.store import Store
from tests.console_app import fill

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "name"), [(" Mai ", "mai"), ("Nguyễn.An", "nguyễn.an"), ("Nguye\u0302\u0303n", "nguyễn")]
)
def test_names_are_compared_folded(raw: str, name: str) -> None:
    assert check_name(raw) == name


@pytest.mark.parametrize("raw", ["", "a", "mai lan", "a" * 65, "mai\x00", "<b>", "mai\n"])
def test_a_name_that_cannot_be_one_is_refused(raw: str) -> None:
    if raw == "mai\n":
        assert check_name(raw) == "mai"  # white space around it is forgiven
    else:
        with pytest.raises(UserError, match="2 to 64"):
            check_name(raw)


def test_a_huge_name_is_cut_before_it_is_looked_at() -> None:
    assert len(fold_name("ﷺ" * 100_000)) == 65


@pytest.mark.parametrize("raw", ["short", "a" * 201, "Lan@bendo.vn"])
def test_a_weak_password_is_refused(raw: str) -> None:
    with pytest.raises(UserError):
        check_password(raw, "lan@bendo.vn")


async def test_the_right_password_and_no_other_is_verified() -> None:
    passwords = Passwords()
    made = await passwords.hash("bến đò một chiều")
    assert made.startswith("$argon2id$")
    assert await passwords.verify(made, "bến đò một chiều")
    assert not await passwords.verify(made, "bến đò hai chiều")


async def test_a_password_is_the_same_however_its_letters_are_built() -> None:
    passwords = Passwords()
    made = await passwords.hash("bến đò một chiều")
    assert await passwords.verify(made, "be\u0302\u0301n đo\u0300 mo\u0323\u0302t chie\u0302\u0300u")


async def test_nobody_and_a_broken_hash_are_refused_and_cost_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    looked: list[str] = []
    check = passwords._check

    def look(made: str, plain: str) -> bool:
        looked.append(made)
        return check(made, plain)

    monkeypatch.setattr(passwords, "_check", look)
    assert not await passwords.verify(None, "x")
    assert not await passwords.verify("no hash", "x")
    assert looked[0].startswith("$argon2id$")


def test_five_wrong_passwords_make_the_next_wait() -> None:
    limit = SignInLimit()
    for second in range(5):
        assert limit.wait("mai", second) == 0
        limit.tried("mai", second)
    assert limit.wait("mai", 5) == 295
    assert limit.wait("nam", 5) == 0, "another account is not held up"
    assert limit.wait("mai", 301) == 0


def test_the_right_password_forgets_the_wrong_ones() -> None:
    limit = SignInLimit()
    for second in range(4):
        limit.tried("mai", second)
    limit.succeeded("mai")
    limit.tried("mai", 5)
    assert limit.wait("mai", 6) == 0


def test_trying_many_names_makes_everybody_wait() -> None:
    limit = SignInLimit()
    for number in range(SignInLimit.TRIES_IN_TOTAL):
        limit.tried(f"name{number}", 10)
    assert limit.wait("mai", 11) == 299
    assert limit.wait("mai", 311) == 0


def test_names_tried_are_remembered_within_bounds() -> None:
    limit = SignInLimit()
    for number in range(5000):
        limit.tried(f"name{number}", number)
    assert len(limit._names) == SignInLimit.MAX_NAMES
    assert len(limit._all) == SignInLimit.TRIES_IN_TOTAL


async def test_accounts_are_made_listed_changed_and_removed(both_stores: Store) -> None:
    await fill(both_stores)
    async with both_stores.begin() as conn:
        mai = await insert_staff(conn, "mai", "hash", "manager", None)
        nam = await insert_staff(conn, "nam", "hash", "official", "DEMO-P01")
    assert mai.covers("DEMO-X02")
    assert not nam.covers("DEMO-X02")
    async with both_stores.begin() as conn:
        assert await list_staff(conn) == [mai, nam]
        assert await set_password(conn, mai.id, "other")
        assert await select_staff_by_name(conn, "mai") == (mai, "other")
        assert await delete_staff(conn, mai.id)
        assert await select_staff_by_name(conn, "mai") is None
        assert not await delete_staff(conn, mai.id)
        assert not await set_password(conn, mai.id, "other")


async def test_a_name_is_given_once_and_a_venue_must_exist(both_stores: Store) -> None:
    await fill(both_stores)
    async with both_stores.begin() as conn:
        await insert_staff(conn, "mai", "hash", "manager", None)
    with pytest.raises(UserError, match="already"):
        async with both_stores.begin() as conn:
            await insert_staff(conn, "mai", "hash", "official", None)
    with pytest.raises(UserError, match="no centre"):
        async with both_stores.begin() as conn:
            await insert_staff(conn, "lan", "hash", "official", "NOWHERE")


async def test_a_session_lasts_eight_hours_from_its_last_renewal(both_stores: Store) -> None:
    await fill(both_stores)
    async with both_stores.begin() as conn:
        nam = await insert_staff(conn, "nam", "hash", "official", "DEMO-P01")
        token = await insert_session(conn, nam.id, NOW)
        session = await select_session(conn, token, NOW + SESSION_LIFE - timedelta(seconds=1))
        assert session is not None
        assert session.staff == nam
        assert session.expires == NOW + SESSION_LIFE
        assert session.venue_names["en"] == "Centre DEMO-P01"
        assert await select_session(conn, token, NOW + SESSION_LIFE) is None
        await renew_session(conn, token, NOW + timedelta(hours=7))
        assert await select_session(conn, token, NOW + timedelta(hours=14)) is not None
        await delete_session(conn, token)
        assert await select_session(conn, token, NOW) is None


async def test_only_a_hash_of_the_token_is_stored_and_ended_sessions_go(store: Store) -> None:
    async with store.begin() as conn:
        mai = await insert_staff(conn, "mai", "hash", "manager", None)
        token = await insert_session(conn, mai.id, NOW)
        other = await insert_session(conn, mai.id, NOW + SESSION_LIFE)
        kept = (await conn.scalars(select(tables.staff_session.c.token_hash))).all()
    assert len(kept) == 1, "the ended session is still there"
    assert token not in kept
    assert other not in kept


@pytest.mark.parametrize("end", ["password", "removal"])
async def test_a_new_password_or_removal_ends_every_session(both_stores: Store, end: str) -> None:
    async with both_stores.begin() as conn:
        mai = await insert_staff(conn, "mai", "hash", "manager", None)
        token = await insert_session(conn, mai.id, NOW)
    async with both_stores.begin() as conn:
        await (set_password(conn, mai.id, "new") if end == "password" else delete_staff(conn, mai.id))
    async with both_stores.read() as conn:
        assert await select_session(conn, token, NOW) is None
