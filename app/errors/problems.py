"""Errors for web services: problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .kinds import CRMError, InvalidValue
from .refusals import explain
from .schemas import refusal, sentence

# By name: they are optional, and not imported to be told apart.
_REQUEST_ERROR = "fastapi.exceptions.RequestValidationError"
_HTTP_EXCEPTION = "starlette.exceptions.HTTPException"


def problem(error: BaseException) -> dict[str, Any]:
    """The error as a problem document (RFC 9457), which ``json.dumps`` takes as it is.

    ``type``, ``title``, ``status``, ``detail`` and ``code``, and what the error holds beside its message.
    A schema's pydantic.ValidationError is an ``invalid_value`` of its first field, without the value, and so
    is a web framework's of a request (FastAPI's RequestValidationError); its HTTPException keeps its status.
    An error that is none of these and none of the database's says nothing but that something failed.
    """
    if _is_a(error, _HTTP_EXCEPTION):
        return _of_framework(error)
    ours = _meaning(error)
    kind = type(ours) if ours is not None else CRMError
    facts = {name: _plain(value) for name, value in vars(ours).items()} if ours is not None else {}
    return facts | {
        "type": f"urn:crm-digital-fte:problem:{kind.code}",
        "title": (kind.__doc__ or "").partition("\n")[0] if ours is not None else "Something failed.",
        "status": kind.http_status,
        "detail": str(ours) if ours is not None else "The request could not be completed.",
        "code": kind.code,
    }


def _meaning(error: BaseException) -> CRMError | None:
    if isinstance(error, CRMError | DBAPIError | PoolTimeout):
        return explain(error)
    if isinstance(error, ValidationError):
        field, wrong = refusal(error)
        return InvalidValue(field or error.title, wrong)
    return _of_request(error) if _is_a(error, _REQUEST_ERROR) else None


def _is_a(error: BaseException, name: str) -> bool:
    return name in {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}


def _of_request(error: Any) -> InvalidValue:
    first = error.errors()[0]
    part, *field = map(str, first["loc"])  # the part is body, query, path, header or cookie
    is_readable = first["type"] != "json_invalid"
    return InvalidValue(".".join(field) if field and is_readable else part, sentence(first))


def _of_framework(error: Any) -> dict[str, Any]:
    status = HTTPStatus(error.status_code)
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": str(error.detail),
        "code": status.name.lower(),
    }


def _plain(value: object) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
