"""The benchmark of imports: COPY writes what the import has left, row for row."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.database import make_engine

KEYS = {"identity_events": "customer_id, event, identifier_id"}
"""Where a trigger draws ids of its own."""


@pytest.fixture(scope="module")
def imports(benchmark):
    return benchmark("imports")


def test_mere_copy_writes_the_rows_that_the_import_left(imports, crm_databases):
    messages = list(imports.correspondence(60, seed=1))
    source, target = crm_databases.clone(), crm_databases.clone()

    assert imports.imported(source, messages) > 0
    assert imports.copied(target, source, len(messages)) > 0
    written = []
    for url in (source, target):
        engine = make_engine(url)
        with engine.connect() as connection:
            written.append(
                [
                    connection.execute(
                        text(f"SELECT count(*), sum(hashtext(({KEYS.get(table, 'id')})::text)) FROM {table}")
                    ).one()
                    for table in imports.TABLES
                    if table != "provider_messages"
                ]
            )
        engine.dispose()
        crm_databases.drop(url)
    assert written[0] == written[1]
    assert written[0][imports.TABLES.index("messages")][0] == 60
