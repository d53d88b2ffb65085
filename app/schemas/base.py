"""What every schema shares."""

from __future__ import annotations

import ast
import inspect
from datetime import datetime
from enum import StrEnum
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

E = TypeVar("E", bound=StrEnum)
OrText: TypeAlias = Annotated[E | str, Field(union_mode="left_to_right")]
"""A code that was read: one that only a newer version knows, and the database allows already, is its text."""


if TYPE_CHECKING:
    Read = TypeVar("Read")
    Written = TypeVar("Written")

    class Coded(Generic[Read, Written]):
        """A field that is written as a code or its plain value, and read as the code."""

        def __get__(self, instance: object, owner: Any) -> Read: ...
        def __set__(self, instance: object, value: Written) -> None: ...

else:

    class Coded:
        """The type that is read: pydantic makes it of either. Only type checkers tell the two apart."""

        def __class_getitem__(cls, read_and_written):
            return read_and_written[0]


def default(value: object) -> Any:
    """What a ``Coded`` field is without a value; checkers would take the field for its declared type."""
    return value


def _moment(value: object) -> datetime | None:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


KeptMoment: TypeAlias = Annotated[datetime | None, BeforeValidator(_moment)]
"""A time out of a column of JSON, where any client may have written anything: what is none is None."""


class Schema(BaseModel):
    """Frozen; unknown fields are refused; errors do not repeat the input, which may be personal.

    The text under a field is its description in JSON Schema. It is read from the source when that is made:
    ``use_attribute_docstrings`` would read it with every import.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        from_attributes=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for owner in cls.__mro__:
            for name, text in _field_texts(owner).items():
                if name in fields:
                    fields[name].setdefault("description", text)
        return schema


@cache
def _field_texts(owner: type) -> dict[str, str]:
    """The text under each field in the body of a schema of ours; none where the source is not at hand."""
    if not issubclass(owner, Schema):
        return {}
    try:
        (body,) = ast.parse(dedent(inspect.getsource(owner))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }
