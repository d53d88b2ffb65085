"""Checks of what callers pass, before anything reaches the database."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar
from uuid import UUID

from pydantic import ValidationError

from ...errors import InvalidValue
from ...models import Channel
from ...schemas.base import Schema

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

E = TypeVar("E", bound=StrEnum)
S = TypeVar("S", bound=Schema)
T = TypeVar("T")

MAX_TEXT = 1_000_000
MAX_ALIASES = 1000
MAX_IDS = 10_000
MAX_DURATION = timedelta(days=36_525)
_ACTOR = re.compile(r"(?:human|ai|customer|system):[A-Za-z0-9._@+-]{1,200}")
_MAX_JSON_DEPTH = 100
_MAX_JSON = 10_000_000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# As the trigger trg_provider_messages_bare_id has it.
_IN_ANGLES = re.compile(r"<(.*[^<>\s].*)>", re.DOTALL)
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def checked_text(field: str, value: object, *, max_length: int = MAX_TEXT, blank: bool = False) -> str:
    """The text as it is, if PostgreSQL can store all of it.

    Raises:
        InvalidValue: not a string, empty, too long, or with a NUL or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise InvalidValue(field, f"must be text, not {type(value).__name__}")
    if not blank and not value.strip():
        raise InvalidValue(field, "must not be empty")
    if len(value) > max_length:
        raise InvalidValue(field, f"must not be longer than {max_length:,} characters")
    if _UNSTORABLE.search(value):
        raise InvalidValue(field, "holds a character that cannot be stored")
    return value


def checked_optional_text(field: str, value: object, *, max_length: int = MAX_TEXT) -> str | None:
    """The same, and None stays None."""
    return None if value is None else checked_text(field, value, max_length=max_length)


def checked_actor(value: object, *, field: str = "actor") -> str:
    """Who acts: ``human:7``, ``ai:support-agent``, ``customer:<uuid>`` or ``system:retention``."""
    if not isinstance(value, str) or not _ACTOR.fullmatch(value):
        raise InvalidValue(
            field, "must read like human:7, ai:support-agent, customer:<uuid> or system:retention"
        )
    return value


def checked_code(field: str, value: object, codes: type[E]) -> E:
    """The enum's member, also for its plain value."""
    # The enum's own error repeats what it is given, however deep that is: it is asked of texts only.
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return codes(value)
    raise InvalidValue(field, f"must be one of {', '.join(codes)}")


def checked_kind(field: str, value: object, kind: type[T]) -> T:
    """The value, if it is one of these."""
    if not isinstance(value, kind):
        raise InvalidValue(field, f"must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def checked_schema(field: str, value: object, kind: type[S]) -> S:
    """The value, if it is one of these and all that its schema says of it is so.

    A copy with other values (``model_copy``) is checked by nobody else.
    """
    checked_kind(field, value, kind)
    try:
        return kind.model_validate(vars(value))
    except ValidationError as error:
        place = ".".join(str(step) for step in error.errors(include_input=False)[0]["loc"])
    raise InvalidValue(f"{field}.{place}" if place else field, "is not what the schema says")


def checked_uuid(field: str, value: object) -> UUID:
    """The UUID, also from its text."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(checked_text(field, value, max_length=50))
    except ValueError:
        raise InvalidValue(field, "must be a UUID") from None


def checked_uuids(field: str, values: object) -> list[UUID]:
    """Several UUIDs, also from their texts."""
    if isinstance(values, str | bytes | bytearray | Mapping) or not isinstance(values, Collection):
        raise InvalidValue(field, "must be a list of UUIDs")
    if len(values) > MAX_IDS:
        raise InvalidValue(field, f"must be at most {MAX_IDS:,}")
    return [checked_uuid(field, value) for value in values]


def checked_callable(field: str, value: T) -> T:
    """A function to call, or None."""
    if value is not None and not callable(value):
        raise InvalidValue(field, f"must be a function, not {type(value).__name__}")
    return value


def checked_time(field: str, value: object) -> datetime:
    """The time, if it says which one it is: a naive one would be read in the session's time zone."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidValue(field, "must be a datetime with a time zone")
    return value


def checked_moment(field: str, value: object) -> datetime:
    """The time in UTC, if there is one: it comes back from the database."""
    try:
        return checked_time(field, value).astimezone(UTC)
    except OverflowError:
        raise InvalidValue(field, "is outside of the calendar") from None


def checked_duration(field: str, value: object) -> timedelta:
    """A duration above zero that can be added to any time of this century."""
    if not isinstance(value, timedelta) or not timedelta(0) < value <= MAX_DURATION:
        raise InvalidValue(field, f"must be a timedelta above zero, of at most {MAX_DURATION.days:,} days")
    return value


def checked_flag(field: str, value: object) -> bool:
    """True or False, and nothing that is merely taken for one: ``bool("false")`` is true."""
    if not isinstance(value, bool):
        raise InvalidValue(field, f"must be True or False, not {type(value).__name__}")
    return value


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number: True is none. A whole one may be beyond every float."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def checked_limit(value: object, *, maximum: int = 1000) -> int:
    """A page's size."""
    return checked_count("limit", value, maximum=maximum)


def checked_count(field: str, value: object, *, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
        raise InvalidValue(field, f"must be a whole number from 1 to {maximum:,}")
    return value


def checked_number(field: str, value: object) -> int:
    """A whole number that a column can hold."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise InvalidValue(field, "must be a whole number of at most 32 bits")
    return value


def require_transaction(session: Session) -> None:
    """Refuse an engine in autocommit mode, where half of a call could stay and no lock lasts.

    Asks the driver on this side, so that it costs no flight.

    Raises:
        InvalidValue: every statement of the session is a transaction of its own.
    """
    if in_autocommit(session):
        raise InvalidValue("session", "needs a transaction, and its engine is in autocommit mode")


def in_autocommit(session: Session) -> bool:
    """Whether every statement of the session is a transaction of its own."""
    return bool(getattr(session.connection().connection.dbapi_connection, "autocommit", False))


def checked_json(field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A plain copy that jsonb can hold: no NaN, no NUL, no half surrogate pairs, at most 10 MB."""
    if not isinstance(value, Mapping):
        raise InvalidValue(field, "must be an object")
    if _depth(value) > _MAX_JSON_DEPTH:
        raise InvalidValue(field, f"is nested more than {_MAX_JSON_DEPTH} levels deep")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        raise InvalidValue(field, "holds something that JSON cannot") from None
    if len(text) > _MAX_JSON:
        raise InvalidValue(field, f"must not be longer than {_MAX_JSON:,} characters as JSON")
    if _ESCAPED_NUL.search(text):
        raise InvalidValue(field, "holds a character that cannot be stored")
    copy: dict[str, Any] = json.loads(text)
    return copy


def is_same_json(one: object, other: object) -> bool:
    """Whether two values of JSON are one, in whatever order of keys: for Python 1 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _depth(value: object) -> int:
    """Levels of nesting, without recursion; stops counting soon after the limit."""
    level, depth = [value], 0
    while level and depth <= _MAX_JSON_DEPTH:
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, Mapping | list | tuple)
            for child in (item.values() if isinstance(item, Mapping) else item)
        ]
    return depth


def canonical_accounts(channel: Channel, account: str, aliases: object) -> list[str]:
    """The account and the aliases of its desk, each once, the account first.

    Raises:
        InvalidValue: one cannot be stored, or ``aliases`` is no list.
    """
    if isinstance(aliases, str | bytes) or not isinstance(aliases, Collection):
        raise InvalidValue("aliases", "must be a list of accounts")
    if len(aliases) > MAX_ALIASES:
        raise InvalidValue("aliases", f"must be at most {MAX_ALIASES}")
    return list(dict.fromkeys(canonical_account(channel, name) for name in (account, *aliases)))


def canonical_account(channel: Channel, account: str) -> str:
    """The one spelling in which it is stored: mailboxes and forms are alike in any letter case.

    Raises:
        InvalidValue: empty, too long, or not to be stored.
    """
    account = checked_text("account", account, max_length=255).strip()
    return account if channel is Channel.WHATSAPP else account.lower()


def stored_id(channel: Channel, provider_message_id: str) -> str:
    """The id as ``provider_messages`` has it: a mail's is one with and without its angle brackets."""
    in_angles = _IN_ANGLES.fullmatch(provider_message_id) if channel is Channel.EMAIL else None
    return provider_message_id if in_angles is None else in_angles[1].strip(" ")
