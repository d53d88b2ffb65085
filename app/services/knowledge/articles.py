"""What is in the knowledge base, and taking it out of use."""

from __future__ import annotations

from collections.abc import Collection, Set
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Integer,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.orm import Session

from ...errors import ArticleNotFound, InvalidValue
from ...models import KnowledgeBaseEntry, KnowledgeCategory
from ...schemas import (
    ArticleSummary,
    KnowledgeCategoryCode,
)
from .._shared.checks import checked_code, checked_kind, checked_limit, checked_uuid
from ..indexing.articles import EMBEDDED_BY, HAS_PRESENT_TEXT
from .ingestion import checked_source, lock_source, switch_off

_ROW = KnowledgeBaseEntry
_ORDER = func.coalesce(_ROW.source, ""), _ROW.title, _ROW.id
_IS_ACTIVE = func.coalesce(_ROW.is_active, False)
_SOURCE, _CATEGORY = bindparam("source", type_=Text()), bindparam("category", type_=Text())
_ACTIVE, _AFTER = bindparam("active", type_=Boolean()), bindparam("after", type_=Uuid())
_SUMMARIES = select(
    _ROW.id,
    _ROW.title,
    _ROW.category,
    _ROW.source,
    _IS_ACTIVE.label("active"),
    case((_ROW.embedding.is_not(None) & HAS_PRESENT_TEXT, EMBEDDED_BY)).label("embedded_by"),
    _ROW.updated_at,
)
_LIST = (
    _SUMMARIES.where(
        or_(_SOURCE.is_(None), _ROW.source == _SOURCE),
        or_(_CATEGORY.is_(None), type_coerce(_ROW.category, Text()) == _CATEGORY),
        or_(cast(_ACTIVE, Boolean).is_(None), _IS_ACTIVE == _ACTIVE),
        or_(_AFTER.is_(None), tuple_(*_ORDER) > select(*_ORDER).where(_ROW.id == _AFTER).scalar_subquery()),
    )
    .order_by(*_ORDER)
    .limit(bindparam("max_rows", type_=Integer()))
)
_LOCKED = select(_ROW.id, _ROW.is_active).order_by(_ROW.id).with_for_update()
_LOCKED_OF_SOURCE = _LOCKED.where(_ROW.source == bindparam("source", type_=Text()))
_LOCKED_BY_ID = _LOCKED.where(_ROW.id == func.any(bindparam("ids", type_=ARRAY(Uuid()))))


def list_articles(
    session: Session,
    *,
    source: str | None = None,
    category: KnowledgeCategoryCode | None = None,
    active: bool | None = True,
    limit: int = 100,
    after: UUID | None = None,
) -> list[ArticleSummary]:
    """Articles that fit all filters, by source and title. One statement.

    ``active``: those in use, those that are not (False), or both (None). Pass the last one's id as ``after``
    to get the following ``limit`` (1 to 1,000).

    Raises:
        InvalidValue: a filter, the limit or ``after`` is ill-formed.
    """
    filters = {
        "source": None if source is None else checked_source(source),
        "category": None if category is None else checked_code("category", category, KnowledgeCategory).value,
        "active": None if active is None else checked_kind("active", active, bool),
        "after": None if after is None else checked_uuid("after", after),
        "max_rows": checked_limit(limit),
    }
    rows = session.execute(_LIST, filters)
    return [ArticleSummary.model_validate(row) for row in rows]


def deactivate(session: Session, *, source: str | None = None, ids: Collection[UUID] | None = None) -> int:
    """Take all articles of a source, or single ones, out of every search; return how many were in use.

    A source's articles are back as soon as its document is ingested again. A single one stays away until its
    text changes there. Locks the articles, and the source against ingestion, until the caller's transaction
    ends.

    Raises:
        ArticleNotFound: there is no such article, or none of this source; nothing was written.
        InvalidValue: an ill-formed source or id; not exactly one of ``source`` and ``ids``.
    """
    if (source is None) is (ids is None):
        raise InvalidValue("source", "or ids is needed, and not both")
    if source is not None:
        active_ids = _lock_source(session, checked_source(source))
    else:
        if isinstance(ids, str) or not isinstance(ids, Collection):
            raise InvalidValue("ids", "must be a list of ids")
        active_ids = _lock_articles(session, {checked_uuid("ids", id_) for id_ in ids})
    if active_ids:
        switch_off(session, active_ids, gone=source is not None)
    return len(active_ids)


def _lock_source(session: Session, source: str) -> list[UUID]:
    """Those of a source that are in use."""
    lock_source(session, source)
    rows = session.execute(_LOCKED_OF_SOURCE, {"source": source}).all()
    if not rows:
        raise ArticleNotFound(f"of the source {source}")
    return [row.id for row in rows if row.is_active]


def _lock_articles(session: Session, ids: Set[UUID]) -> list[UUID]:
    """Those of these articles that are in use."""
    rows = session.execute(_LOCKED_BY_ID, {"ids": list(ids)}).all()
    if missing := ids - {row.id for row in rows}:
        raise ArticleNotFound(min(missing))
    return [row.id for row in rows if row.is_active]
