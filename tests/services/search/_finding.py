"""Whether a question finds what was written, among articles, messages and tickets, by the index of words."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.services import search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory

INDEX_OF = {
    "knowledge": "idx_knowledge_base_words",
    "message": "idx_messages_words",
    "ticket": "idx_tickets_words",
}


def scans(session: Session, index: str) -> int:
    numbers = text("SELECT pg_stat_get_xact_numscans(CAST(:index AS regclass))")
    return session.execute(numbers, {"index": index}).scalar_one()


def assert_finds(session: Session, written: str, question: str, *, other: str = "Nothing of it") -> None:
    """In the articles, messages and tickets, by their indexes, and not what is ``other``."""
    # So few rows are read as fast in other ways: what the planner takes depends on the last VACUUM.
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"))
    session.execute(text("DROP INDEX IF EXISTS idx_knowledge_base_category"))
    own = {
        "knowledge": KnowledgeBaseEntryFactory(title="-", content=written),
        "message": MessageFactory(content=written),
        "ticket": TicketFactory(subject=written),
    }
    KnowledgeBaseEntryFactory(title="-", content=other)
    MessageFactory(content=other)
    TicketFactory(subject=other)
    for name, find in (
        ("knowledge", search.search_knowledge),
        ("message", search.search_messages),
        ("ticket", search.search_tickets),
    ):
        before = scans(session, INDEX_OF[name])
        hits = find(session, question, mode="text")
        assert [hit.id for hit in hits] == [own[name].id], name
        assert scans(session, INDEX_OF[name]) > before
