"""The document of everything that is kept about a person."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from app.errors import CustomerNotFound
from app.schemas import CustomerExport
from app.services import merging, privacy
from app.testing import CustomerFactory
from tests.services.privacy.planting import person_of

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "customer-export.schema.json"


def test_the_published_schema_is_the_one_of_the_code():
    schema = CustomerExport.model_json_schema(mode="serialization")
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == schema


def test_a_document_reads_back(session):
    document = privacy.export_customer(session, person_of(session))

    assert CustomerExport.model_validate_json(document.model_dump_json()) == document
    assert (document.name, len(document.messages), len(document.tickets)) == ("Wanda Wolf", 1, 1)
    assert "She is cross" in {entry.comment for entry in document.tickets[0].record}


def test_an_absorbed_or_erased_customer_is_exported_as_what_it_is_now(session):
    customer_id, absorbed_id = person_of(session), CustomerFactory(name="W. Wolf").id
    merging.merge(session, customer_id, absorbed_id, actor="human:7", reason="one person")

    document = privacy.export_customer(session, absorbed_id)
    assert (document.customer_id, document.absorbed_ids) == (customer_id, (absorbed_id,))
    assert document.merges[0].absorbed["name"] == "W. Wolf"

    privacy.erase_customer(session, customer_id, actor="human:7", reason="asked")
    left = privacy.export_customer(session, absorbed_id)
    assert left.erased_at is not None
    assert (left.name, left.identifiers, left.messages[0].content) == (None, (), "")
    assert left.tickets[0].ticket_number == document.tickets[0].ticket_number


def test_nobody_to_export(session):
    with pytest.raises(CustomerNotFound):
        privacy.export_customer(session, uuid4())
