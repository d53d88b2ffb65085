"""Articles for the speed of searches: vectors such as texts have, loaded with COPY, and exact answers."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from uuid import UUID

import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.types.json import Jsonb

from app.database import normalize_url
from app.models import uuid7

DIMENSIONS = 1536
ASPECTS = 400
LIMIT = 10
SHARES = {"general": 0.5, "billing": 0.1, "faq": 0.01, "account": 0.0005}
"""Of all articles, by category; the others are about troubleshooting."""
WORDS = """
    account agent archive backup board browser calendar card change channel client comment confirm copy
    customer delete device email error export file guest import invoice key limit link member message mobile
    month owner page password plan press project request restore search seat settings share sign storage sync
    task team ticket update upload user wait webhook workspace
"""


def candidates(articles: int) -> int:
    """The ``hnsw.ef_search`` of ``search_objects`` in a table of so many: with it others find as much."""
    return min(200, round(30 + math.sqrt(articles) / 2))


class Vectors:
    """Draws vectors such as texts have: the same seed draws the same ones.

    A vector is eight of 400 aspects, some of which are far more common than others, each with a weight from
    0.2 to 1, and is brought to length 1. Compared with the vectors that all-MiniLM-L6-v2 gives to 100,000
    sentences of documentation, in brackets, 100,000 of them have a local intrinsic dimension (maximum
    likelihood, 20 neighbours among 5,000) of 26 (26), a similarity of 0.55 (0.57) to the tenth nearest and of
    0.34 (0.33) to the thousandth, and a search of 200 candidates in pgvector's default graph finds 0.990
    (0.993) of the ten nearest. Vectors in separate clusters are much harder, pure noise more so.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.aspects = [array("f", (self.random.gauss() for _ in range(DIMENSIONS))) for _ in range(ASPECTS)]
        self.common = list(accumulate(1 / (rank + 10) for rank in range(ASPECTS)))

    def draw(self) -> list[float]:
        chosen = self.random.choices(self.aspects, cum_weights=self.common, k=8)
        a, b, c, d, e, f, g, h = (self.random.uniform(0.2, 1) for _ in chosen)
        vector = [
            a * s + b * t + c * u + d * v + e * w + f * x + g * y + h * z
            for s, t, u, v, w, x, y, z in zip(*chosen, strict=True)
        ]
        length = math.hypot(*vector)
        return [value / length for value in vector]

    def categories(self, rows: int) -> list[str]:
        """The category of every article, in no order that the vectors have."""
        counts = {name: max(1, round(share * rows)) for name, share in SHARES.items()}
        counts["troubleshooting"] = rows - sum(counts.values())
        categories = [name for name, count in counts.items() for _ in range(count)]
        self.random.shuffle(categories)
        return categories


def connect(url: str, *settings: str) -> psycopg.Connection:
    """A plain connection, with the settings, on which every statement is a transaction of its own."""
    address = normalize_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    options = " ".join(f"-c {setting}" for setting in settings)
    return psycopg.connect(address, autocommit=True, options=options)


def connect_binary(url: str, *settings: str) -> psycopg.Connection:
    """The same, and vectors are sent in binary."""
    connection = connect(url, *settings)
    register_vector(connection)
    return connection


def build_memory(rows: int) -> str:
    """Memory that holds the whole graph; what does not fit is inserted row by row, many times slower."""
    return f"maintenance_work_mem={max(256, rows * 12 // 1024)}MB"


def load(url: str, vectors: Vectors, rows: int, words: int) -> None:
    """Replace the knowledge base by ``rows`` articles of so many words; the vectors' indexes come last."""
    with connect_binary(url, build_memory(rows)) as connection:
        definitions = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE tablename = 'knowledge_base' AND indexdef ~ 'USING hnsw'"
        ).fetchall()
        for name, _ in definitions:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
        connection.execute("TRUNCATE knowledge_base CASCADE")
        columns = "id, title, content, category, embedding, metadata"
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY knowledge_base ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["uuid", "varchar", "text", "varchar", "vector", "jsonb"])
            for row in articles(vectors, rows, words):
                copy.write_row(row)
        for _, definition in definitions:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE knowledge_base")


def articles(vectors: Vectors, rows: int, words: int) -> Iterator[tuple[UUID, str, str, str, Vector, Jsonb]]:
    provenance = Jsonb({"embedding": {"model": "synthetic", "dimensions": DIMENSIONS}})
    vocabulary = WORDS.split()
    for category in vectors.categories(rows):
        text = vectors.random.choices(vocabulary, k=words)
        title, content = " ".join(text[:6]).capitalize(), " ".join(text)
        yield uuid7(), title, content, category, Vector(vectors.draw()), provenance


def exact_answers(url: str, queries: Sequence[list[float]], category: str | None = None) -> list[set[str]]:
    """The ids of the nearest articles of each query, from a look at every row."""
    only = "AND category = %(category)s" if category else ""
    settings = (f"enable_{path}=off" for path in ("indexscan", "bitmapscan", "indexonlyscan"))
    with connect_binary(url, *settings) as connection:
        return [
            {
                str(id_)
                for (id_,) in connection.execute(
                    f"SELECT id FROM knowledge_base WHERE is_active {only} "
                    f"ORDER BY embedding <=> %(query)s LIMIT {LIMIT}",
                    {"query": Vector(query), "category": category},
                )
            }
            for query in queries
        ]
