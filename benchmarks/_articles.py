"""Articles for the speed of searches: vectors that lie in topics, loaded with COPY, and exact answers."""

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


class Topics:
    """Draws vectors such as texts have: the same seed draws the same ones.

    A vector is the direction of one of many topics, some of which are far more common than others, plus four
    of 400 aspects that all topics share, each with a weight from 0.2 to 0.8; then it is brought to length 1.
    So it has neighbours that are much nearer than the rest, as texts have and pure noise has not. Among 5,000
    of them the local intrinsic dimension (maximum likelihood, 20 neighbours) is 21; among the vectors that
    all-MiniLM-L6-v2 gives to 5,000 docstrings it is 23, so the search is about as hard as among real texts.
    """

    def __init__(self, seed: int, rows: int) -> None:
        self.random = random.Random(seed)
        self.topics = [self._direction() for _ in range(max(20, rows // 200))]
        self.aspects = [self._direction() for _ in range(ASPECTS)]
        self.common = list(accumulate(1 / (rank + 10) for rank in range(len(self.topics))))

    def draw(self) -> list[float]:
        topic = self.random.choices(self.topics, cum_weights=self.common)[0]
        one, two, three, four = self.random.sample(self.aspects, 4)
        a, b, c, d = (self.random.uniform(0.2, 0.8) for _ in range(4))
        vector = [
            t + a * v + b * w + c * x + d * y
            for t, v, w, x, y in zip(topic, one, two, three, four, strict=True)
        ]
        length = math.hypot(*vector)
        return [value / length for value in vector]

    def _direction(self) -> array[float]:
        return array("f", (self.random.gauss(0, 1) for _ in range(DIMENSIONS)))

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


def load(url: str, topics: Topics, rows: int, words: int) -> None:
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
            for row in articles(topics, rows, words):
                copy.write_row(row)
        for _, definition in definitions:
            connection.execute(definition)
        connection.execute("VACUUM ANALYZE knowledge_base")


def articles(topics: Topics, rows: int, words: int) -> Iterator[tuple[UUID, str, str, str, Vector, Jsonb]]:
    provenance = Jsonb({"embedding": {"model": "synthetic", "dimensions": DIMENSIONS}})
    vocabulary = WORDS.split()
    for category in topics.categories(rows):
        text = topics.random.choices(vocabulary, k=words)
        title, content = " ".join(text[:6]).capitalize(), " ".join(text)
        yield uuid7(), title, content, category, Vector(topics.draw()), provenance


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
