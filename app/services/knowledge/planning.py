"""Which chunk of a document is which article: pure, so that it can be read and tested without a database."""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from ...models import KnowledgeCategory
from .chunks import Chunk


class Draft(NamedTuple):
    """A chunk of the document, as it is to be stored."""

    chunk: Chunk
    position: int
    """Among the chunks under the same headings: a new section elsewhere changes nothing here."""
    text_hash: str
    content_hash: str

    @property
    def place(self) -> tuple[tuple[str, ...], int]:
        return self.chunk.headings, self.position


class Stored(NamedTuple):
    """An article that an earlier ingestion made."""

    id: UUID
    active: bool
    category: str
    headings: list[str] | None
    position: int | None
    """None: the document no longer has it."""
    text_hash: str
    content_hash: str

    @property
    def place(self) -> tuple[tuple[str, ...], int] | None:
        return None if self.position is None else (tuple(self.headings or ()), self.position)


@dataclass
class Plan:
    """What has to be written, and how many chunks share each fate."""

    inserts: list[Draft] = field(default_factory=list)
    updates: list[tuple[Draft, UUID, bool]] = field(default_factory=list)
    """What to store in which article, and whether it is active then."""
    removals: list[UUID] = field(default_factory=list)
    order: list[Draft | UUID] = field(default_factory=list)
    """The document's articles in its order; of those that are new, what will be stored."""
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("added", "changed", "unchanged", "removed", "switched_off"), 0)
    )


def drafts_of(chunks: Sequence[Chunk]) -> list[Draft]:
    """The chunks with their places."""
    drafts = []
    positions: dict[tuple[str, ...], int] = defaultdict(int)
    for chunk in chunks:
        text = f"{chunk.title}\n{chunk.content}"
        drafts.append(Draft(chunk, positions[chunk.headings], _sha256(text), _sha256(chunk.content)))
        positions[chunk.headings] += 1
    return drafts


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def plan_changes(drafts: Sequence[Draft], stored: Sequence[Stored], category: KnowledgeCategory) -> Plan:
    """What makes the articles those of the document; nothing for a chunk that is as it should be."""
    plan = Plan()
    pairs = _pairs(drafts, stored)
    for draft in drafts:
        row = pairs.get(draft)
        if row is None:
            plan.inserts.append(draft)
            fate = "added"
        elif row.position is None:
            plan.updates.append((draft, row.id, True))
            fate = "added"
        elif (row.text_hash, row.category, row.place) != (draft.text_hash, category, draft.place):
            plan.updates.append((draft, row.id, row.active or row.text_hash != draft.text_hash))
            fate = "changed"
        else:
            fate = "unchanged" if row.active else "switched_off"
        plan.counts[fate] += 1
    kept = {row.id for row in pairs.values()}
    plan.removals = [row.id for row in stored if row.active and row.id not in kept]
    plan.order = [draft if draft not in pairs else pairs[draft].id for draft in drafts]
    plan.counts["removed"] = len(plan.removals)
    plan.updates.sort(key=lambda update: update[1])
    return plan


def _pairs(drafts: Iterable[Draft], stored: Iterable[Stored]) -> dict[Draft, Stored]:
    """Which chunk is which article: the same text, else the same content, else the same place."""
    unpaired, rows = list(drafts), list(stored)
    pairs: dict[Draft, Stored] = {}
    likenesses: list[Callable[[Draft | Stored], Hashable]] = [
        lambda one: one.text_hash,
        lambda one: one.content_hash,
        # What the document no longer has, has none: a new text in its place is another article.
        lambda one: one.place,
    ]
    for likeness in likenesses:
        alike: dict[Hashable, deque[Stored]] = defaultdict(deque)
        for row in rows:
            if likeness(row) is not None:
                alike[likeness(row)].append(row)
        for draft in unpaired:
            if alike[likeness(draft)]:
                pairs[draft] = alike[likeness(draft)].popleft()
        taken = {row.id for row in pairs.values()}
        unpaired = [draft for draft in unpaired if draft not in pairs]
        rows = [row for row in rows if row.id not in taken]
    return pairs
