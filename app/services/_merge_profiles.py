"""Profiles in a merge: what the survivor takes over, and how it is given back."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Table, func, or_, select, text, update
from sqlalchemy.orm import Session

from ..models import Customer, CustomerMerge
from ..normalization import PLACEHOLDER_DOMAIN

FIELDS = ("email", "name", "phone", "company", "plan", "metadata")


def fills(survivor: RowMapping, absorbed: RowMapping) -> dict[str, list[Any]]:
    """Blank fields of the survivor that the absorbed customer can fill: field -> [before, after]."""
    ours, theirs = survivor["profile"], absorbed["profile"]
    filled = {
        field: [None, theirs[field]]
        for field in ("name", "phone", "company", "plan")
        if ours[field] is None and theirs[field] is not None
    }
    if _is_placeholder(ours["email"]) and not _is_placeholder(theirs["email"]):
        filled["email"] = [ours["email"], theirs["email"]]
    if isinstance(theirs["metadata"], dict) and isinstance(ours["metadata"] or {}, dict):
        both = {**theirs["metadata"], **(ours["metadata"] or {})}
        if both != (ours["metadata"] or {}):
            filled["metadata"] = [ours["metadata"], both]
    return filled


def _is_placeholder(email: str) -> bool:
    return email.endswith(f"@{PLACEHOLDER_DOMAIN}")


def set_profile(session: Session, customer_id: UUID, fields: dict[str, Any]) -> None:
    """By column name: the attribute of ``metadata`` has another one."""
    customers = Customer.__table__
    assert isinstance(customers, Table)
    session.execute(update(customers).where(customers.c.id == customer_id).values(fields))


def take_back(session: Session, done: CustomerMerge, living_id: UUID) -> tuple[str, ...]:
    """Restore the absorbed customer's row and blank what the merge filled; returns what stays undecided.

    Where the survivor was absorbed since, its before-image gives the values back too.
    """
    undecided = []
    image = dict(done.absorbed)
    profile = session.execute(
        text("SELECT to_jsonb(customers) FROM customers WHERE id = :id"), {"id": living_id}
    ).scalar_one()
    reset = {}
    later = session.scalars(
        select(CustomerMerge)
        .where(CustomerMerge.seq > done.seq, CustomerMerge.undone_at.is_(None))
        .where(or_(CustomerMerge.absorbed_id == done.survivor_id, CustomerMerge.survivor_id == living_id))
        .with_for_update()
    ).all()
    for field, (before, after) in done.filled.items():
        for merge_ in later:
            if merge_.absorbed_id == done.survivor_id and merge_.absorbed.get(field) == after:
                merge_.absorbed = {**merge_.absorbed, field: before}
        if profile[field] != after:
            # The survivor's own field was changed by somebody; another customer's never had the value.
            if living_id == done.survivor_id and profile[field] != before:
                undecided.append(field)
            continue
        if living_id == done.survivor_id:
            reset[field] = before
            continue
        passed_on = next(
            (
                m
                for m in later
                if m.survivor_id == living_id and m.filled.get(field, [None, None])[1] == after
            ),
            None,
        )
        if passed_on is not None:
            reset[field] = passed_on.filled[field][0]
            passed_on.filled = {name: pair for name, pair in passed_on.filled.items() if name != field}
    session.flush()
    if reset:
        set_profile(session, living_id, reset)
    taken = session.scalar(
        select(Customer.id).where(func.lower(Customer.email) == image["email"].lower()).limit(1)
    )
    if taken is not None:
        image["email"] = f"{done.absorbed_id}@{PLACEHOLDER_DOMAIN}"
        undecided.append("email")
    session.execute(
        text("INSERT INTO customers SELECT * FROM jsonb_populate_record(NULL::customers, :image)"),
        {"image": json.dumps(image)},
    )
    return tuple(dict.fromkeys(undecided))
