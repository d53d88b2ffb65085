"""langchain-postgres as its README and its how-to about PGVectorStore use it."""

from __future__ import annotations

from _serve import DIMENSIONS, LIMIT, serve
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import PGEngine, PGVectorStore
from langchain_postgres.v2.indexes import HNSWIndex, HNSWQueryOptions

TABLE = "langchain_articles"


def create(url: str) -> None:
    PGEngine.from_connection_string(url=url).init_vectorstore_table(table_name=TABLE, vector_size=DIMENSIONS)


def index(url: str) -> None:
    Articles(url, 40).store.apply_vector_index(HNSWIndex(m=16, ef_construction=64))


class Articles:
    def __init__(self, url: str, ef_search: int) -> None:
        engine = PGEngine.from_connection_string(url=url)
        self.engine = engine._pool.sync_engine
        self.store = PGVectorStore.create_sync(
            engine=engine,
            table_name=TABLE,
            embedding_service=DeterministicFakeEmbedding(size=DIMENSIONS),
            # Left out where it is the server's default: it costs a statement for each search.
            index_query_options=None if ef_search == 40 else HNSWQueryOptions(ef_search=ef_search),
        )

    def search(self, vector: list[float], category: str | None) -> list[str]:
        only = None if category is None else {"category": category}
        found = self.store.similarity_search_with_score_by_vector(vector, k=LIMIT, filter=only)
        return [document.id for document, _ in found]


if __name__ == "__main__":
    serve(create, index, Articles)
