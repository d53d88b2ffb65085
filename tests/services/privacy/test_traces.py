"""What a dump of the whole database has about a person: everything before an erasure, nothing after it."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import CustomerErased
from app.services import merging, privacy, tickets
from app.testing import (
    ConversationFactory,
    ConversationRouteFactory,
    CustomerFactory,
    MessageFactory,
    bound_to,
)
from tests.services.privacy.planting import dump, in_dump, plant_elsewhere, plant_person

BY = {"actor": "human:7", "reason": "asked by letter of 3 May"}
WHY = {"actor": "human:7", "reason": "one person"}


@pytest.fixture
def database(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        yield session


def traces(session: Session, words: dict[str, str]) -> dict[str, str]:
    session.commit()
    return in_dump(dump(session.get_bind().url), words)


def test_an_erasure_takes_every_trace_and_none_of_anybody_else(database):
    person, other = plant_person(database, "Wanda"), plant_person(database, "Otto")
    conversation_id = database.scalars(
        text("SELECT id FROM conversations WHERE customer_id = :id"), {"id": other.customer_id}
    ).one()
    plant_elsewhere(database, person, conversation_id)
    assert len(person.words) >= 60
    assert traces(database, person.words) == person.words
    # Each column that the registry has, but those that only merges write.
    assert person.columns() >= {
        f"{table}.{column}"
        for table, columns in privacy.PERSONAL.items()
        for column in columns
        if not table.startswith("customer_merge")
    }

    privacy.erase_customer(database, person.customer_id, **BY)

    assert traces(database, person.words) == {}
    # Of the other one's conversation, what was made from its whole text goes too.
    derived = {word for word, column in other.words.items() if column.startswith("ticket_embeddings")}
    assert other.words.keys() - traces(database, other.words).keys() == derived
    assert tickets.verify_history(database) == []


def test_merges_and_their_undoing_leave_no_trace_behind(database):
    person, survivor, third = (plant_person(database, name) for name in ("Wanda", "Otto", "Mathilda"))
    why = {"actor": "human:7", "reason": f"{person.word('customer_merges.reason')} called"}
    undo = {"actor": "human:7", "reason": person.word("customer_merges.undo_reason")}
    first = merging.merge(database, survivor.customer_id, person.customer_id, **why)
    second = merging.merge(database, third.customer_id, survivor.customer_id, **why)
    merging.unmerge(database, first.id, **undo)
    again = merging.merge(database, person.customer_id, third.customer_id, **why)
    merging.unmerge(database, again.id, **undo)
    assert traces(database, person.words) == person.words

    privacy.erase_customer(database, person.customer_id, **BY)

    # The reasons of merges between others are theirs, whomever they name.
    assert set(traces(database, person.words).values()) <= {"customer_merges.reason"}
    assert merging.unmerge(database, second.id, actor="human:7", reason="two people").restored_id
    privacy.erase_customer(database, survivor.customer_id, **BY)
    privacy.erase_customer(database, third.customer_id, **BY)
    assert traces(database, person.words | survivor.words | third.words) == {}
    assert tickets.verify_history(database) == []


@pytest.mark.parametrize("merged_again", [False, True])
def test_no_image_of_another_merge_keeps_what_was_the_persons_while_they_were_one(database, merged_again):
    words = dict.fromkeys(["Wanda-Name", "wanda@post.example", "+4930555777", "Wanda-Firm", "Wanda-Fact"], "")
    person = CustomerFactory(
        name="Wanda-Name", email="wanda@post.example", phone="+4930555777", company="Wanda-Firm",
        extra={"key": "Wanda-Fact"},
    ).id  # fmt: skip
    blank = CustomerFactory(
        email=f"{uuid4()}@placeholder.invalid", name=None, phone=None, company=None, extra={}
    ).id
    third = CustomerFactory(name=None, phone=None, company=None, extra={}).id
    first = merging.merge(database, blank, person, **WHY).id
    second = merging.merge(database, third, blank, **WHY).id
    merging.unmerge(database, second, **WHY)
    merging.unmerge(database, first, **WHY)
    if merged_again:
        merging.merge(database, third, blank, **WHY)
    assert traces(database, words) == words

    privacy.erase_customer(database, person, **BY)

    assert traces(database, words) == {}


def test_whoever_became_part_of_the_person_goes_with_it_and_any_of_their_ids_will_do(database):
    person, absorbed = plant_person(database, "Wanda"), plant_person(database, "Otto")
    merge = merging.merge(database, person.customer_id, absorbed.customer_id, **WHY)

    report = privacy.erase_customer(database, absorbed.customer_id, **BY)

    assert traces(database, person.words | absorbed.words) == {}
    assert report.customer_id == person.customer_id
    assert set(report.customer_ids) == {person.customer_id, absorbed.customer_id}
    assert privacy.export_customer(database, absorbed.customer_id).erased_at == report.erased_at
    with pytest.raises(CustomerErased):
        merging.unmerge(database, merge.id, **WHY)


def test_what_came_by_the_persons_address_while_it_was_taken_for_somebody_else_goes_too(database):
    person, survivor = plant_person(database, "Wanda"), plant_person(database, "Otto")
    address = next(word for word in person.words if "customer-identifiers" in word).lower() + "@post.example"
    merge = merging.merge(database, survivor.customer_id, person.customer_id, **WHY)
    # Of what comes after a merge, an unmerge does not know whose it is: it stays.
    conversation = ConversationFactory(customer_id=survivor.customer_id)
    ConversationRouteFactory(conversation=conversation, identifier_value=address, address=address)
    MessageFactory(conversation=conversation, content=person.word("messages.content"))
    merging.unmerge(database, merge.id, **WHY)

    privacy.erase_customer(database, person.customer_id, **BY)

    assert traces(database, person.words) == {}
    assert traces(database, survivor.words) == survivor.words


def test_an_export_has_every_trace_of_the_person_and_none_of_anybody_else(database):
    person, other = plant_person(database, "Wanda"), plant_person(database, "Otto")
    conversation_id = database.scalars(
        text("SELECT id FROM conversations WHERE customer_id = :id"), {"id": other.customer_id}
    ).one()
    plant_elsewhere(database, person, conversation_id)

    document = privacy.export_customer(database, person.customer_id).model_dump_json()

    # Vectors and hashes are made from the text, which is in it.
    made = {
        word: column for word, column in person.words.items() if "embeddings" in column or "hash" in column
    }
    assert person.words.keys() - in_dump(document, person.words).keys() == made.keys()
    assert in_dump(document, other.words) == {}
