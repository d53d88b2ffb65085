"""Merges that were made."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from ...errors import MergeNotFound
from ...models import CustomerMerge
from .._shared.checks import checked_uuid


def get_merge(session: Session, merge_id: UUID) -> CustomerMerge:
    """A merge with what it absorbed, done or undone.

    Raises:
        MergeNotFound: there is no such merge.
        InvalidValue: the id is ill-formed.
    """
    merge_id = checked_uuid("merge_id", merge_id)
    merge = session.get(CustomerMerge, merge_id)
    if merge is None:
        raise MergeNotFound(merge_id)
    return merge
