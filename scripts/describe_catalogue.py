"""Write the catalogue that ``crm db check`` compares with: run it after a change of the migrations.

It describes the first revision and head as a server of our own makes them.
"""

from __future__ import annotations

import json
from contextlib import closing

from sqlalchemy import create_engine

from app import migrations
from app.migrations import catalogue
from app.testing import Databases, provision


def main() -> None:
    described = {}
    with provision() as server, closing(Databases(server)) as databases:
        for revision in (migrations.first(), migrations.head()):
            url = databases.empty()
            migrations.upgrade(url, revision)
            with create_engine(url).connect() as connection:
                items = catalogue.read(connection)
            described[revision] = {
                item.title: item.definition for item in items if item.owner != "alembic_version"
            }
            databases.drop(url)
    text = json.dumps(described, indent=1, ensure_ascii=False)
    catalogue.FILE.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
