"""Filters have one definition per object, which services, the command line and the database share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, get_args, get_type_hints
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.errors import InvalidValue
from app.models import TicketStatus
from app.schemas import CommonFilters, KnowledgeFilters, MessageFilters, TicketFilters
from app.services import search
from app.services._shared.lists import checked_filters

DEFINITIONS = {"knowledge": KnowledgeFilters, "message": MessageFilters, "ticket": TicketFilters}
CODES = [
    pytest.param(definition, field, get_args(hint)[0], id=f"{definition.__name__}.{field}")
    for definition in DEFINITIONS.values()
    for field, hint in get_type_hints(definition).items()
    if isinstance(get_args(hint)[0], type) and issubclass(get_args(hint)[0], StrEnum)
]
VALUES: dict[type, Any] = {str: "x", UUID: uuid4(), datetime: datetime(2026, 1, 1, tzinfo=UTC), int: 7}


def example(hint: Any) -> Any:
    kind = get_args(hint)[0]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return next(iter(kind))
    return VALUES.get(kind, {"tags": ["a"]})


@pytest.mark.parametrize("object_type", DEFINITIONS)
def test_the_database_knows_every_filter_of_the_definition_and_no_other(session, object_type):
    definition = DEFINITIONS[object_type]
    filters = {field: example(hint) for field, hint in get_type_hints(definition).items()}
    checked = checked_filters(definition, filters)
    assert len(checked) == len(filters)
    statement = text("SELECT search_conditions(:object_type, CAST(:filters AS jsonb))")
    for column, value in checked.items():
        condition = session.scalar(
            statement, {"object_type": object_type, "filters": json.dumps({column: value})}
        )
        assert column.removesuffix("_from").removesuffix("_before") in condition


@pytest.mark.parametrize(("definition", "field", "enum"), CODES)
def test_a_code_is_one_of_those_that_the_definition_names(definition, field, enum):
    assert checked_filters(definition, {field: [*enum]}) == {field: [code.value for code in enum]}
    with pytest.raises(InvalidValue, match=rf"{field}: must be one of {', '.join(enum)}"):
        checked_filters(definition, {field: "no such code"})


def test_none_is_no_filter_and_one_value_is_like_a_list_of_one():
    id_ = uuid4()
    assert checked_filters(TicketFilters, {"status": None, "assigned_to": None}) == {}
    for customer_id in (id_, str(id_), [id_], {id_}, (str(id_),)):
        assert checked_filters(TicketFilters, {"customer_id": customer_id}) == {"customer_id": [str(id_)]}
    assert checked_filters(TicketFilters, {"status": "open"}) == {"status": ["open"]}
    assert checked_filters(TicketFilters, {"status": TicketStatus.OPEN}) == {"status": ["open"]}


def test_times_are_sent_in_utc_and_under_their_columns_name():
    odd = timezone(timedelta(hours=5, minutes=30, seconds=7))
    at = datetime(2026, 1, 1, 12, tzinfo=odd)
    for definition in (*DEFINITIONS.values(), CommonFilters):
        checked = checked_filters(definition, {"created_from": at, "created_before": at})
        assert checked == {
            "created_at_from": "2026-01-01T06:29:53+00:00",
            "created_at_before": "2026-01-01T06:29:53+00:00",
        }


@pytest.mark.parametrize("function", [search.search_knowledge, search.search_messages, search.search_tickets])
@pytest.mark.parametrize(
    "name", ["limt", "customer", "created_at_from", "metadata", "id", "not_id", "customer_idx"]
)
def test_a_filter_that_there_is_not_is_refused_by_name(session, function, name):
    with pytest.raises(InvalidValue, match=rf"^{name}: is no filter here; there are "):
        function(session, "text", mode="text", **{name: "x"})


def test_articles_are_not_filtered_by_a_customer(session):
    with pytest.raises(InvalidValue, match="customer_id: is no filter here"):
        search.search_knowledge(session, "text", mode="text", customer_id=uuid4())
