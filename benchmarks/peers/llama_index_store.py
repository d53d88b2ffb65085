"""LlamaIndex's PGVectorStore as its documentation uses it."""

from __future__ import annotations

from _serve import DIMENSIONS, LIMIT, serve
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.postgres import PGVectorStore
from sqlalchemy import make_url

HNSW = {
    "hnsw_m": 16,
    "hnsw_ef_construction": 64,
    "hnsw_ef_search": 40,
    "hnsw_dist_method": "vector_cosine_ops",
}


def store(url: str, hnsw: dict[str, object] | None) -> PGVectorStore:
    address = make_url(url)
    made = PGVectorStore.from_params(
        connection_string=address.set(drivername="postgresql+psycopg2"),
        async_connection_string=address.set(drivername="postgresql+asyncpg"),
        table_name="llama_index_articles",
        embed_dim=DIMENSIONS,
        hnsw_kwargs=hnsw,
    )
    made.add([])  # connects, and creates the table, or the index where it is asked for
    return made


def create(url: str) -> None:
    store(url, None)


def index(url: str) -> None:
    store(url, dict(HNSW))


class Articles:
    def __init__(self, url: str, ef_search: int) -> None:
        self.store = store(url, HNSW | {"hnsw_ef_search": ef_search})
        self.engine = self.store.client

    def search(self, vector: list[float], category: str | None) -> list[str]:
        only = None
        if category is not None:
            only = MetadataFilters(filters=[MetadataFilter(key="category", value=category)])
        found = self.store.query(
            VectorStoreQuery(query_embedding=vector, similarity_top_k=LIMIT, filters=only)
        )
        return list(found.ids)


if __name__ == "__main__":
    serve(create, index, Articles)
