"""The text under a field is its description in JSON Schema."""

from __future__ import annotations

from pydantic import Field

from app.schemas import Identifier, Page
from app.schemas.base import Schema


class Parcel(Schema):
    weight: float
    """In kilograms."""
    sender: Identifier
    """Who sends it,
    not who carries it."""
    note: str = Field("", description="As the label has it.")
    """As the code has it."""
    bare: str = ""


class LargeParcel(Parcel):
    weight: float
    """In tons."""
    length: float
    """In metres."""


def described(schema: type[Schema]) -> dict[str, str | None]:
    properties = schema.model_json_schema()["properties"]
    return {name: properties[name].get("description") for name in properties}


def test_each_text_is_a_description_and_one_that_is_given_comes_first():
    assert described(Parcel) == {
        "weight": "In kilograms.",
        "sender": "Who sends it,\nnot who carries it.",
        "note": "As the label has it.",
        "bare": None,
    }


def test_texts_are_inherited_and_replaced_like_fields():
    assert described(LargeParcel) == described(Parcel) | {"weight": "In tons.", "length": "In metres."}


def test_a_schema_within_another_and_a_page_of_them_are_described_too():
    definitions = Page[LargeParcel].model_json_schema()["$defs"]

    assert definitions["LargeParcel"]["properties"]["length"]["description"] == "In metres."


def test_a_schema_whose_source_is_nowhere_has_none():
    scope = {"Schema": Schema, "__name__": "nowhere"}
    exec("class Typed(Schema):\n    size: int\n    'In pixels.'", scope)

    assert described(scope["Typed"]) == {"size": None}
