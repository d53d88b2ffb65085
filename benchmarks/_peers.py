"""Other stores on the same articles, each in an environment of its own.

A store makes its table and its index by its own means; the rows are copied inside the database, and the index
is built afterwards, as ours. Each is measured twice: on the server's defaults, as its documentation has it,
and "tuned", on those that our revision 0011 sets.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _articles import build_memory, connect
from _contenders import Found, path_of
from platformdirs import user_cache_path

from app.database import normalize_url

FOLDER = Path(__file__).parent / "peers"
VARIANTS = {
    "": ("random_page_cost=4", "hnsw.iterative_scan=off"),
    ", tuned": ("random_page_cost=1.1", "hnsw.iterative_scan=strict_order"),
}


@dataclass(frozen=True)
class Peer:
    package: str
    script: str
    table: str
    fill: str


PEERS = (
    Peer(
        "langchain-postgres",
        "langchain_postgres_store.py",
        "langchain_articles",
        """
            INSERT INTO langchain_articles (langchain_id, content, embedding, langchain_metadata)
            SELECT id, content, embedding,
                json_build_object('title', title, 'category', category, 'source', source)
            FROM knowledge_base
        """,
    ),
    Peer(
        "vecs",
        "vecs_store.py",
        "vecs.articles",
        """
            INSERT INTO vecs.articles (id, vec, metadata)
            SELECT id::text, embedding, jsonb_build_object(
                'title', title, 'content', content, 'category', category, 'source', source)
            FROM knowledge_base
        """,
    ),
    Peer(
        "llama-index-vector-stores-postgres",
        "llama_index_store.py",
        "data_llama_index_articles",
        """
            INSERT INTO data_llama_index_articles (node_id, text, embedding, metadata_)
            SELECT id::text, content, embedding, facts::jsonb || jsonb_build_object(
                '_node_type', 'TextNode',
                '_node_content',
                    json_build_object('id_', id, 'metadata', facts, 'class_name', 'TextNode')::text)
            FROM (
                SELECT *, json_build_object('title', title, 'category', category, 'source', source) AS facts
                FROM knowledge_base
            ) AS articles
        """,
    ),
)


def environment(peer: Peer) -> Path:
    """The Python of the peer's environment, which is made once for each set of pinned versions."""
    pins = (FOLDER / f"{peer.package}.txt").read_bytes()
    key = hashlib.sha256(pins + sys.version.encode()).hexdigest()[:12]
    folder = user_cache_path("crm-digital-fte") / "benchmarks" / f"{peer.package}-{key}"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {peer.package} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", str(FOLDER / f"{peer.package}.txt")], check=True)
        ready.touch()
    return folder / "bin" / "python"


class Process:
    """A process in the peer's environment that runs its script."""

    def __init__(self, peer: Peer) -> None:
        self.process = subprocess.Popen(
            [str(environment(peer)), str(FOLDER / peer.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **details}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process for {what!r} has ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def with_settings(url: str, *settings: str) -> str:
    options = " ".join(f"-c {setting}" for setting in settings)
    address = normalize_url(url).update_query_dict({"options": options})
    return address.render_as_string(hide_password=False)


def build(peer: Peer, url: str, rows: int) -> None:
    """Let the peer make its table and, once the articles are in it, its index."""
    process = Process(peer)
    building = with_settings(url, build_memory(rows))
    process.ask("create", url=building)
    with connect(url) as connection:
        connection.execute(peer.fill)
        process.ask("index", url=building)
        process.close()
        connection.execute(f"VACUUM ANALYZE {peer.table}")


class Measured:
    """A peer on the server's defaults, or tuned."""

    def __init__(
        self, peer: Peer, url: str, queries: Sequence[list[float]], ef_search: int, variant: str
    ) -> None:
        self.name = peer.package + variant
        self.process = Process(peer)
        address = with_settings(url, *VARIANTS[variant])
        self.process.ask("open", url=address, queries=queries, ef_search=ef_search)

    def search(self, number: int, category: str | None = None) -> Found:
        answer = self.process.ask("search", number=number, category=category)
        return Found(answer["seconds"], answer["ids"])

    def path(self, category: str | None = None) -> str:
        return path_of(self.process.ask("plan", category=category)["plan"])

    def close(self) -> None:
        self.process.close()


def measured(url: str, queries: Sequence[list[float]], ef_search: int) -> list[Measured]:
    return [Measured(peer, url, queries, ef_search, variant) for peer in PEERS for variant in VARIANTS]
