"""A page's place as a text for URLs: it comes back as it was, or is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import InvalidValue
from app.schemas import Cursor, Page
from app.services import timeline

PLACE = Cursor(
    datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC), UUID("0198c8f0-7a3b-7c11-9d42-6b1f2e5a9c04")
)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_token_is_its_cursor_again(created_at, id_):
    cursor = Cursor(created_at, id_)
    assert Cursor.of_token(cursor.token()) == cursor


def test_a_token_says_the_moment_and_not_its_time_zone():
    east = PLACE.created_at.astimezone(timezone(timedelta(hours=9)))
    assert Cursor(east, PLACE.id).token() == PLACE.token()


def test_the_last_page_has_no_token():
    assert Page[int](items=(1,)).token() is None
    assert Page[int](items=(1,), next=PLACE).token() == PLACE.token()


def test_a_page_in_json_says_what_its_list_takes_as_before():
    page = Page[int](items=(1,), next=PLACE)
    assert page.model_dump(mode="json") == {"items": [1], "next": PLACE.token()}
    assert Page[int].model_validate_json(page.model_dump_json()) == page
    with pytest.raises(ValidationError):
        Page[int].model_validate({"items": [], "next": PLACE.token()[:-1]})


def test_a_token_is_safe_in_a_url():
    tokens = [Cursor(PLACE.created_at, UUID(int=n)).token() for n in range(200)]
    assert all(
        set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
        for token in tokens
    )


def tampered():
    token = PLACE.token()
    for position in range(len(token)):
        other = "A" if token[position] != "A" else "B"
        yield token[:position] + other + token[position + 1 :]
    yield from (
        "",
        "x",
        token[:-1],
        token + "A",
        token + "=",
        token + " ",
        token[::-1],
        "é",
        "\x00",
        token * 2,
    )


@pytest.mark.parametrize("token", list(tampered()))
def test_a_token_that_somebody_changed_is_refused(session, queries, token):
    with pytest.raises(InvalidValue, match=r"^before: "):
        timeline.history(session, uuid4(), before=token)
    assert queries.count == 0, queries
