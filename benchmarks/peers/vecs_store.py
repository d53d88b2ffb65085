"""vecs as its documentation uses it; metadata holds the article, since it has no column for a text."""

from __future__ import annotations

import vecs
from _serve import DIMENSIONS, LIMIT, serve
from sqlalchemy import make_url


def create(url: str) -> None:
    Articles(url, 40)


def index(url: str) -> None:
    Articles(url, 40).collection.create_index(
        method=vecs.IndexMethod.hnsw,
        measure=vecs.IndexMeasure.cosine_distance,
        index_arguments=vecs.IndexArgsHNSW(m=16, ef_construction=64),
    )


class Articles:
    def __init__(self, url: str, ef_search: int) -> None:
        address = make_url(url).set(drivername="postgresql+psycopg2")
        client = vecs.create_client(address.render_as_string(hide_password=False))
        self.engine = client.engine
        self.ef_search = ef_search
        self.collection = client.get_or_create_collection(name="articles", dimension=DIMENSIONS)

    def search(self, vector: list[float], category: str | None) -> list[str]:
        found = self.collection.query(
            data=vector,
            limit=LIMIT,
            filters=None if category is None else {"category": {"$eq": category}},
            include_value=True,
            include_metadata=True,
            ef_search=self.ef_search,
        )
        return [id_ for id_, _, _ in found]


if __name__ == "__main__":
    serve(create, index, Articles)
