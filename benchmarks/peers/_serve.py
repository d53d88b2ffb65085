"""What the process of every peer does: it answers each JSON line with another.

Runs in the peer's environment, where there is nothing of this project. Times are taken here, around the
peer's own call, so the way between the two processes costs nobody anything.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, event

LIMIT = 10
DIMENSIONS = 1536


class Store(Protocol):
    engine: Engine

    def search(self, vector: list[float], category: str | None) -> list[str]:
        """The ids of the nearest articles (of the category), which the store has brought along in full."""


def plan(store: Store, vector: list[float], category: str | None) -> str:
    """The server's plan of the statement that a search sends, on the store's own connection."""
    lines: list[str] = []

    def explain(_: object, cursor: Any, statement: str, parameters: Any, *__: object) -> None:
        if statement.lstrip().upper().startswith("SELECT") and "<=>" in statement:
            cursor.execute(f"EXPLAIN {statement}", parameters)
            lines.extend(row[0] for row in cursor.fetchall())

    event.listen(store.engine, "before_cursor_execute", explain)
    store.search(vector, category)
    event.remove(store.engine, "before_cursor_execute", explain)
    return "\n".join(lines)


def serve(
    create: Callable[[str], None], index: Callable[[str], None], open_store: Callable[[str, int], Store]
) -> None:
    store: Any = None
    queries: list[list[float]] = []
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, Any] = {}
        match asked["do"]:
            case "create":
                create(asked["url"])
            case "index":
                index(asked["url"])
            case "open":
                store, queries = open_store(asked["url"], asked["ef_search"]), asked["queries"]
            case "plan":
                answer["plan"] = plan(store, queries[0], asked["category"])
            case "search":
                vector = queries[asked["number"]]
                since = time.perf_counter()
                answer["ids"] = store.search(vector, asked["category"])
                answer["seconds"] = time.perf_counter() - since
        print(json.dumps(answer), flush=True)
