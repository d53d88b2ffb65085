"""What every table shares: keys in order of creation, harmless names in logs, and JSON that is saved."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import RFC_4122

import pytest
from sqlalchemy import MetaData, String, Text, inspect, select, text
from sqlalchemy.exc import InvalidRequestError

from app import models
from app.models import Base, Customer, KnowledgeBaseEntry, uuid7
from app.testing import (
    ChannelConfigFactory,
    ConversationFactory,
    CustomerFactory,
    KnowledgeBaseEntryFactory,
    MessageFactory,
    TicketFactory,
)

MAPPERS = sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__)
RELATIONSHIPS = [
    pytest.param(relationship, id=str(relationship))
    for mapper in MAPPERS
    for relationship in sorted(mapper.relationships, key=str)
]
a_model = pytest.mark.parametrize("model", [pytest.param(m.class_, id=m.class_.__name__) for m in MAPPERS])


def test_ids_are_uuids_of_version_7():
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    assert {id_.version for id_ in ids} == {7}
    assert {id_.variant for id_ in ids} == {RFC_4122}
    assert all(before <= id_.int >> 80 <= after for id_ in ids)
    assert len(set(ids)) == len(ids)
    # All 62 random bits are in use: each is set in some ids and clear in others.
    together, common = 0, ~0
    for id_ in ids:
        together, common = together | id_.int, common & id_.int
    assert (together & ~common) & ((1 << 62) - 1) == (1 << 62) - 1


def test_ids_sort_in_the_order_of_their_creation():
    ids = []
    for _ in range(2_000):
        ids.append(uuid7())
        # One step of the fraction is a quarter of a microsecond.
        until = time.time_ns() + 500
        while time.time_ns() < until:
            pass
    assert ids == sorted(ids)
    assert [str(id_) for id_ in ids] == sorted(str(id_) for id_ in ids)


def test_the_database_gives_ids_to_raw_inserts(session):
    ids = session.scalars(
        text("INSERT INTO customers (email) VALUES ('a@example.com'), ('b@example.com') RETURNING id")
    ).all()
    assert [id_.version for id_ in ids] == [4, 4]


@a_model
def test_a_row_is_named_without_its_content(model):
    texts = [column.key for column in inspect(model).column_attrs if is_text(column)]
    row = model(**dict.fromkeys(texts, "ada@example.com"))
    assert repr(row) == f"<{model.__name__} None>"


def is_text(attribute) -> bool:
    return isinstance(attribute.columns[0].type, String | Text)


def test_a_row_can_be_named_when_its_session_is_gone(session):
    customer = CustomerFactory()
    session.expire(customer)
    session.expunge(customer)
    assert repr(customer) == "<Customer None>"
    message = MessageFactory()
    session.expunge(message)
    assert repr(message) == f"<Message {message.id}>"


@pytest.mark.parametrize("relationship", RELATIONSHIPS)
def test_relationships_load_nothing_unasked_and_delete_nothing(relationship):
    assert relationship.lazy == "raise"
    assert not relationship.backref
    assert not relationship.cascade.delete
    assert not relationship.cascade.delete_orphan


def test_an_unloaded_relationship_raises_instead_of_asking_the_database(session, queries):
    customer = session.get(Customer, CustomerFactory().id, populate_existing=True)
    queries.reset()
    with pytest.raises(InvalidRequestError, match="raise"):
        _ = customer.conversations
    assert queries.count == 0, queries


def test_rows_of_a_loaded_collection_can_move_to_another_customer(session):
    source, target = CustomerFactory(), CustomerFactory()
    conversations = [ConversationFactory(customer=source) for _ in range(3)]
    session.refresh(source, ["conversations"])
    session.refresh(target, ["conversations"])
    for conversation in conversations:
        target.conversations.append(conversation)
    session.flush()
    session.delete(source)
    session.flush()
    left = session.scalars(
        select(models.Conversation.customer_id).where(models.Conversation.id.in_(c.id for c in conversations))
    )
    assert list(left) == [target.id] * 3


@a_model
def test_metadata_is_still_the_schema(model):
    assert isinstance(model.metadata, MetaData)
    assert "metadata" not in inspect(model).column_attrs


def test_json_that_is_taken_away_is_null_and_not_the_json_null(session):
    customer = CustomerFactory(extra={"a": 1})
    customer.extra = None
    session.flush()
    session.expire(customer)
    assert customer.extra is None
    assert session.scalar(text("SELECT metadata IS NULL FROM customers WHERE id = :id"), {"id": customer.id})


def test_json_that_was_not_given_is_an_empty_object(session):
    assert CustomerFactory().extra == CustomerFactory(extra=None).extra == {}


def test_json_that_is_edited_in_place_is_saved(session):
    customer = CustomerFactory(extra={"tags": ["vip"], "old": 1})
    customer.extra["language"] = "de"
    del customer.extra["old"]
    session.flush()
    session.expire(customer)
    assert customer.extra == {"tags": ["vip"], "language": "de"}


def test_messages_of_one_transaction_have_the_clocks_times(session):
    first, second = MessageFactory(), MessageFactory()
    assert first.created_at < second.created_at
    assert first.id < second.id
    assert second.created_at - first.created_at < timedelta(minutes=1)
    raw = session.scalars(
        text("""
            INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
            VALUES (:conversation, :customer, 'email', 'inbound', 'customer', 'hi') RETURNING created_at
        """),
        {"conversation": first.conversation_id, "customer": first.customer_id},
    ).one()
    assert raw > second.created_at


def test_a_placeholder_is_no_address_to_write_to():
    assert Customer(email="ada@example.com").contact_email == "ada@example.com"
    assert Customer(email=f"{uuid7()}@placeholder.invalid").contact_email is None


def test_an_embedding_is_loaded_only_where_it_is_asked_for(session, queries):
    entry = KnowledgeBaseEntryFactory(embedding=[1.0] + [0.0] * 1535)
    session.expire(entry)
    queries.reset()
    session.get(KnowledgeBaseEntry, entry.id)
    assert queries.count == 1
    assert "embedding" not in queries.statements[0]
    assert list(entry.embedding) == [1.0] + [0.0] * 1535


@pytest.mark.parametrize(
    "make",
    [CustomerFactory, ConversationFactory, TicketFactory, KnowledgeBaseEntryFactory, ChannelConfigFactory],
)
def test_an_update_is_dated_by_the_database(session, make):
    row = make()
    table = row.__tablename__
    session.execute(text(f"UPDATE {table} SET updated_at = '2001-01-01' WHERE id = :id"), {"id": row.id})
    session.refresh(row)
    assert row.updated_at == session.scalar(text("SELECT now()"))
    row.extra["edited"] = True
    session.flush()
    assert "updated_at" in row.__dict__
