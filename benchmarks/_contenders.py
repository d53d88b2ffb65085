"""Who is measured in this process: a search in plain psycopg, and ours."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from _articles import LIMIT, connect_binary
from pgvector import Vector
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.models import KnowledgeCategory
from app.services.search import search_knowledge
from app.testing import QueryRecorder

# With a large ef_search the planner would rather sort a few thousand rows, cheap pages or not; only the index
# of the vectors gives them in order.
EXPERT = ("random_page_cost=1.1", "enable_sort=off", "jit=off")
RAW_SEARCH = f"""
    SELECT id, title, content, category, source, metadata, created_at, updated_at,
        1 - (embedding <=> %(query)b)
    FROM knowledge_base WHERE is_active ORDER BY embedding <=> %(query)b LIMIT {LIMIT}
"""
SCANS = text("""
    SELECT relname, pg_stat_get_xact_numscans(oid) AS scans FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
""")


@dataclass(frozen=True)
class Found:
    seconds: float
    ids: Sequence[str]


class Contender(Protocol):
    name: str

    def search(self, number: int) -> Found:
        """Ask the query of that number; the time is that of the search alone."""

    def path(self) -> str:
        """What the server's plan reads: an index, or the whole table."""

    def close(self) -> None: ...


class Filtering(Contender, Protocol):
    """The same, also within one category."""

    def search(self, number: int, category: str | None = None) -> Found: ...

    def path(self, category: str | None = None) -> str: ...


def path_of(plan: str) -> str:
    """The index that a plan scans, or that it scans the whole table."""
    index = re.search(r"Index (?:Only )?Scan (?:using|on) (\S+)", plan)
    return index[1] if index else "whole table"


class Raw:
    """As fast as it gets: one connection, binary, prepared, settings chosen by hand.

    In autocommit, or with a transaction that is ended as that of a session: then it has as many flights.
    """

    def __init__(
        self, url: str, queries: Sequence[list[float]], ef_search: int, *, transactions: bool = False
    ) -> None:
        self.name = "psycopg by hand" + (", a transaction each" if transactions else "")
        self.connection = connect_binary(url, *EXPERT, f"hnsw.ef_search={ef_search}")
        self.connection.autocommit = not transactions
        self.cursor = self.connection.cursor(binary=True)
        self.queries = [Vector(query) for query in queries]

    def search(self, number: int) -> Found:
        since = time.perf_counter()
        rows = self.cursor.execute(RAW_SEARCH, {"query": self.queries[number]}, prepare=True).fetchall()
        self.connection.commit()  # after a rollback psycopg would have to prepare again
        return Found(time.perf_counter() - since, [str(row[0]) for row in rows])

    def path(self) -> str:
        rows = self.cursor.execute(f"EXPLAIN {RAW_SEARCH}", {"query": self.queries[0]}).fetchall()
        return path_of("\n".join(line for (line,) in rows))

    def close(self) -> None:
        self.connection.close()


class Ours:
    """``search_knowledge``, on the read-only engine with one session, or with a session for each search."""

    def __init__(self, url: str, queries: Sequence[list[float]], *, read_only: bool) -> None:
        self.name = "search_knowledge, read-only engine" if read_only else "search_knowledge, own sessions"
        self.url = url
        self.queries = queries
        self.engine = make_engine(url, read_only=read_only)
        self.kept = Session(self.engine) if read_only else None

    def search(self, number: int, category: str | None = None) -> Found:
        only = None if category is None else KnowledgeCategory(category)
        since = time.perf_counter()
        if self.kept is not None:
            hits = search_knowledge(self.kept, self.queries[number], limit=LIMIT, category=only)
        else:
            with Session(self.engine) as session:
                hits = search_knowledge(session, self.queries[number], limit=LIMIT, category=only)
        return Found(time.perf_counter() - since, [str(hit.id) for hit in hits])

    def statements(self) -> int:
        with QueryRecorder(self.engine) as recorder:
            self.search(0)
        return recorder.count

    def path(self, category: str | None = None) -> str:
        """What a search has scanned, from the server's counters; a function's plan cannot be explained."""
        only = None if category is None else KnowledgeCategory(category)
        engine = make_engine(self.url)
        with Session(engine) as session:
            before = dict(map(tuple, session.execute(SCANS)))
            search_knowledge(session, self.queries[0], limit=LIMIT, category=only)
            after = dict(map(tuple, session.execute(SCANS)))
        engine.dispose()
        used = sorted(name for name, scans in after.items() if scans > before[name])
        return ", ".join("whole table" if name == "knowledge_base" else name for name in used)

    def close(self) -> None:
        if self.kept is not None:
            self.kept.close()
        self.engine.dispose()
