"""What pydantic refuses, in the words of the rule that a field breaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_KINDS = {"value_error": "Value error, ", "assertion_error": "Assertion failed, "}
"""Kind of a problem -> what pydantic puts before the words of whoever raised it."""


def refusal(error: ValidationError) -> tuple[str, str]:
    """The first field that breaks a rule (empty: none alone), and what is wrong, without the value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return ".".join(map(str, first["loc"])), sentence(first)


def sentence(problem: Mapping[str, Any]) -> str:
    """What is wrong, as one of ``errors()`` says it, and nothing before it."""
    return str(problem["msg"]).removeprefix(_KINDS.get(problem["type"], ""))
