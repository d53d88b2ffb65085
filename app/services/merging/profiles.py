"""Profiles in a merge: what the survivor takes over, and how it is given back.

``metadata`` is copied and cut inside the database: on the way through Python its numbers could change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, Table, Text, bindparam, text, update
from sqlalchemy.orm import Session

from ...models import Customer, CustomerMerge
from ...models.customer import EMAIL_KEY
from ...normalization import is_placeholder, placeholder_email, search_key
from .._shared.checks import is_same_json

FIELDS = ("email", "name", "phone", "company", "plan", "metadata")

Filled = dict[str, list[Any]]
"""What a profile got: field -> [before, after]; for ``metadata`` ``after`` has the new keys only."""

_SUM_OF_METADATA = """(
    SELECT (absorbed -> 'metadata') || COALESCE(customers.metadata, '{}')
    FROM customer_merges WHERE id = :merge_id
)"""

_CUT_IMAGE = text("""
    UPDATE customer_merges
    SET filled = CAST(:filled AS jsonb),
        absorbed = absorbed || CASE
            WHEN :keys = '{}' THEN '{}'
            ELSE jsonb_build_object('metadata', (absorbed -> 'metadata') - :keys)
        END || CAST(:values AS jsonb)
    WHERE id = :merge_id
""").bindparams(bindparam("keys", type_=ARRAY(Text)))

# Whichever merge is undone last finds nothing left and puts the NULL back.
_HAND_ON_NULL = text("""
    UPDATE customer_merges SET filled = jsonb_set(filled, '{metadata,0}', 'null')
    WHERE id = (
        SELECT id FROM customer_merges
        WHERE survivor_id = :customer_id AND id <> :merge_id AND undone_at IS NULL
            AND filled -> 'metadata' IS NOT NULL
        ORDER BY seq LIMIT 1
    )
""")

_TAKEN = text(f"""
    SELECT EXISTS (
        SELECT FROM customers
        WHERE {EMAIL_KEY} = :key AND lower(email) = lower(:email)
            AND (email = :email OR created_at > :merged_at)
    )
""")  # noqa: S608

_RESTORE = text("""
    INSERT INTO customers
    SELECT row.*
    FROM customer_merges AS done,
        jsonb_populate_record(NULL::customers, done.absorbed || jsonb_build_object('email', :email)) AS row
    WHERE done.id = :merge_id
    ON CONFLICT (email) DO NOTHING RETURNING id
""").bindparams(bindparam("email", type_=Text))


def fills(survivor: RowMapping, absorbed: RowMapping) -> Filled:
    """Blank fields of the survivor that the absorbed customer can fill; ``metadata`` key by key."""
    ours, theirs = survivor["profile"], absorbed["profile"]
    filled = {
        field: [None, theirs[field]]
        for field in ("name", "phone", "company", "plan")
        if ours[field] is None and theirs[field] is not None
    }
    if is_placeholder(ours["email"]) and not is_placeholder(theirs["email"]):
        filled["email"] = [ours["email"], theirs["email"]]
    our_metadata = {} if ours["metadata"] is None else ours["metadata"]
    if isinstance(theirs["metadata"], dict) and isinstance(our_metadata, dict):
        keys = sorted(theirs["metadata"].keys() - our_metadata.keys())
        if keys:
            filled["metadata"] = [None if ours["metadata"] is None else {}, keys]
    return filled


def fill(session: Session, merge_id: UUID, survivor_id: UUID, filled: Filled) -> None:
    """Write what ``fills`` found into the survivor's row."""
    values = {field: after for field, (_, after) in filled.items()}
    if "metadata" in values:
        values["metadata"] = text(_SUM_OF_METADATA).bindparams(merge_id=merge_id)
    _set_profile(session, survivor_id, values)


def take_back(
    session: Session, done: CustomerMerge, later: Sequence[CustomerMerge], living_id: UUID
) -> list[str]:
    """Blank what the merge filled, also where later merges took it; returns the fields changed since.

    A later merge that absorbed the survivor has the values in its before-image, and may have passed them on.
    """
    filled, changed = _filled_by(done), []
    for merge in later:
        values, keys, edited = _cut(merge.absorbed, filled)
        _keep_null(session, done, merge.absorbed_id, filled, values)
        filled, kept = _passed_on(merge, filled)
        parameters = {"filled": json.dumps(kept), "values": json.dumps(values), "keys": keys}
        session.execute(_CUT_IMAGE, parameters | {"merge_id": merge.id})
        changed += edited
    profile = session.execute(
        text("SELECT to_jsonb(customers) FROM customers WHERE id = :id"), {"id": living_id}
    ).scalar_one()
    values, keys, edited = _cut(profile, filled)
    _keep_null(session, done, living_id, filled, values)
    if keys and "metadata" not in values:
        values["metadata"] = text("metadata - :keys").bindparams(bindparam("keys", keys, ARRAY(Text)))
    if values:
        _set_profile(session, living_id, values)
    return changed + edited


def restore(session: Session, done: CustomerMerge) -> list[str]:
    """Put the absorbed customer's row back as it was; its address only if nobody took it meanwhile."""
    email = done.absorbed["email"]
    parameters = {"merge_id": done.id, "email": email, "merged_at": done.merged_at}
    if not session.scalar(_TAKEN, parameters | {"key": search_key("email", email)}) and session.scalar(
        _RESTORE, parameters
    ):
        return []
    session.execute(_RESTORE, parameters | {"email": placeholder_email(done.absorbed_id)})
    return ["email"]


def _set_profile(session: Session, customer_id: UUID, values: Mapping[str, Any]) -> None:
    """By column name: the attribute of ``metadata`` has another one."""
    customers = Customer.__table__
    assert isinstance(customers, Table)
    session.execute(update(customers).where(customers.c.id == customer_id).values(values))


def _filled_by(done: CustomerMerge) -> Filled:
    """What the merge filled, with the values of metadata's keys."""
    filled: Filled = {field: pair for field, pair in done.filled.items() if field in FIELDS}
    if "metadata" in filled:
        before, keys = filled["metadata"]
        filled["metadata"] = [before, {key: done.absorbed["metadata"][key] for key in keys}]
    return filled


def _cut(profile: Mapping[str, Any], filled: Filled) -> tuple[dict[str, Any], list[str], list[str]]:
    """Columns to set back, keys of metadata to remove, and the fields that somebody has changed."""
    values, keys, changed = {}, [], []
    for field, (before, after) in filled.items():
        now = profile[field]
        if field != "metadata":
            if now == after:
                values[field] = before
            elif now != before:
                changed.append(field)
            continue
        present = now if isinstance(now, dict) else {}
        keys = [key for key, value in after.items() if key in present and is_same_json(present[key], value)]
        if any(key in present and key not in keys for key in after):
            changed.append(field)
        if before is None and len(keys) == len(present):
            values[field] = None
    return values, keys, changed


def _keep_null(
    session: Session, done: CustomerMerge, customer_id: UUID, filled: Filled, values: Mapping[str, Any]
) -> None:
    """Metadata that was NULL, and is not empty yet without what the merge gave, becomes NULL later."""
    if filled.get("metadata", [{}])[0] is None and "metadata" not in values:
        session.execute(_HAND_ON_NULL, {"customer_id": customer_id, "merge_id": done.id})


def _passed_on(later: CustomerMerge, filled: Filled) -> tuple[Filled, dict[str, Any]]:
    """What a later merge gave on of what its absorbed customer was given, and what else it filled."""
    passed: Filled = {}
    kept: dict[str, Any] = {}
    added = _filled_by(later)
    for field, pair in later.filled.items():
        if field == "metadata":
            before, values = added[field]
            ours = filled.get(field, [None, {}])[1]
            shared = {
                key: value for key, value in values.items() if key in ours and is_same_json(ours[key], value)
            }
            rest = [key for key in values if key not in shared]
            passed |= {field: [before, shared]} if shared else {}
            kept |= {field: [before, rest]} if rest else {}
        elif field in filled and filled[field][1] == pair[1]:
            passed[field] = pair
        else:
            kept[field] = pair
    return passed, kept
