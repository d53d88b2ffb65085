"""Give the database one text search configuration, ``crm``, for all full-text searches.

The indexes and functions that come next name it. Its language is a matter of ALTER TEXT SEARCH CONFIGURATION
and a rebuild of the indexes (``crm knowledge language``), not of a migration.

Locks: none; adds a configuration, with English stemming.
Reversible: yes; a language that was chosen is forgotten.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TEXT SEARCH CONFIGURATION crm (COPY = pg_catalog.english)")


def downgrade() -> None:
    op.execute("DROP TEXT SEARCH CONFIGURATION crm")
