"""What callers pass is checked in Python: whatever is accepted, PostgreSQL can store, exactly as it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, Text, bindparam, cast, select
from sqlalchemy.dialects.postgresql import JSONB

from app.errors import CRMError, InvalidValue
from app.models import TicketStatus
from app.services._shared.checks import (
    checked_actor,
    checked_code,
    checked_json,
    checked_limit,
    checked_optional_text,
    checked_text,
    checked_time,
    checked_uuid,
)

SOME_ID = UUID("0190f5fe-7c00-7a00-8000-000000000001")
with_one_session = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize(
    "value",
    [b"bytes", 7, None, ["a"], "", "  \n\t", "a\x00b", "\ud800", "\udfff!", "x" * 11],
    ids=["bytes", "int", "None", "list", "empty", "blank", "NUL", "high", "low", "long"],
)
def test_text_that_cannot_be_stored_is_refused_by_its_fields_name(value):
    with pytest.raises(InvalidValue, match=r"^subject: ") as caught:
        checked_text("subject", value, max_length=10)
    assert caught.value.field == "subject"


@pytest.mark.parametrize("value", ["a", " padded ", "x" * 10, "\U0001f600", "Straße", "\x01\x7f"])
def test_other_text_passes_unchanged(value):
    assert checked_text("subject", value, max_length=10) == value


def test_blank_text_and_no_text_pass_where_they_are_allowed():
    assert checked_text("content", " ", blank=True) == " "
    assert checked_optional_text("comment", None) is None
    with pytest.raises(InvalidValue):
        checked_optional_text("comment", "")


@pytest.mark.parametrize("value", ["human:7", "ai:support-agent", f"customer:{SOME_ID}", "system:a.b_c+d@e"])
def test_an_actor_says_what_it_is_and_which_one(value):
    assert checked_actor(value) == value


@pytest.mark.parametrize(
    "value", ["", "human", "human:", ":7", "robot:7", "human:7\n", "human: 7", "Human:7", "human:é", 7, None]
)
def test_any_other_actor_is_refused(value):
    with pytest.raises(InvalidValue, match=r"^actor: "):
        checked_actor(value)


def test_a_code_is_the_member_or_its_value():
    assert checked_code("status", TicketStatus.OPEN, TicketStatus) is TicketStatus.OPEN
    assert checked_code("status", "open", TicketStatus) is TicketStatus.OPEN


@pytest.mark.parametrize("value", ["OPEN", "", "new", None, 1, ["open"], {"open": 1}])
def test_an_unknown_code_is_refused_with_the_known_ones(value):
    with pytest.raises(InvalidValue, match="open, processing, waiting, resolved, escalated, closed"):
        checked_code("status", value, TicketStatus)


def test_an_id_may_be_its_text():
    assert checked_uuid("id", SOME_ID) is SOME_ID
    assert checked_uuid("id", str(SOME_ID).upper()) == SOME_ID


@pytest.mark.parametrize("value", ["", "1", "TKT-0001", None, 1, b"0" * 16, "x" * 36, "\x00"])
def test_anything_else_is_no_id(value):
    with pytest.raises(InvalidValue, match=r"^id: "):
        checked_uuid("id", value)


def test_a_time_needs_a_zone():
    kabul = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=4, minutes=30)))
    assert checked_time("until", kabul) is kabul
    for value in (datetime(2026, 1, 1), kabul.date(), "2026-01-01T00:00:00Z", 0, None):  # noqa: DTZ001
        with pytest.raises(InvalidValue, match=r"^until: .*time zone"):
            checked_time("until", value)


@pytest.mark.parametrize("value", [0, -1, 1001, 2**70, True, 1.0, "5", None])
def test_a_page_has_1_to_1000_rows(value):
    assert (checked_limit(1), checked_limit(1000)) == (1, 1000)
    with pytest.raises(InvalidValue, match=r"^limit: "):
        checked_limit(value)


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"in": [value]} if levels % 2 else {"in": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"n": float("nan")},
        {"n": float("-inf")},
        {"nul": "a\x00b"},
        {"a\x00": 1},
        {"half": "\ud83d"},
        {"id": SOME_ID},
        {"when": datetime(2026, 1, 1, tzinfo=UTC)},
        {"set": {1}},
        {"bytes": b"x"},
        {(1, 2): 3},
        {"int": 10**5000},
        MappingProxyType({"a": {1}}),
        nested(101),
        nested(20_000),
        ["not", "an", "object"],
        "text",
        None,
    ],
)
def test_what_jsonb_cannot_hold_is_refused(value):
    with pytest.raises(InvalidValue, match=r"^extra: "):
        checked_json("extra", value)


def test_json_is_copied_down_to_its_leaves():
    given_ = {"a": [1, {"b": None}], "t": (1, 2), "text": "\\u0000 is only text", 3: "three"}
    copy = checked_json("extra", given_)
    assert copy == {"a": [1, {"b": None}], "t": [1, 2], "text": "\\u0000 is only text", "3": "three"}
    copy["a"][1]["b"] = "changed"
    assert given_["a"][1]["b"] is None


@given(text=st.text(st.characters(codec=None, exclude_categories=())) | st.text("\\u0\x00ab"))
@with_one_session
def test_text_is_refused_or_comes_back_as_it_was(session, text):
    try:
        checked = checked_text("content", text, blank=True)
    except InvalidValue:
        assert "\x00" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text)
        return
    assert session.scalar(select(cast(bindparam("text", checked), Text))) == text


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text("\\u0\x00\"'a\ud800é")
TREES = st.recursive(
    LEAVES,
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text("\\u0\x00a"), child, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text("\\u0\x00a"), TREES, max_size=3))
@with_one_session
def test_json_is_refused_or_stored(session, value):
    try:
        checked = checked_json("extra", value)
    except CRMError:
        return
    stored = session.scalar(select(cast(cast(bindparam("value", checked, JSON), JSONB), JSONB)))
    # Large floats come back as whole numbers of many digits; as floats they are the same.
    assert as_floats(stored) == as_floats(checked)


def as_floats(value: object) -> object:
    if isinstance(value, dict):
        return {key: as_floats(child) for key, child in value.items()}
    if isinstance(value, list):
        return [as_floats(child) for child in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
