"""Index the words of articles, messages and tickets, and the models that embedded the articles.

The words are those of the first 50,000 characters: a tsvector has a limit, beyond which a long message could
no longer be stored at all.

Locks: builds CONCURRENTLY, so reads and writes go on; waits for older transactions. An invalid leftover of an
interrupted build is dropped first.
Reversible: yes.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEXES = {
    "idx_knowledge_base_words": (
        "knowledge_base USING gin (to_tsvector('crm', left(title || ' ' || content, 50000)))"
    ),
    "idx_messages_words": "messages USING gin (to_tsvector('crm', left(content, 50000)))",
    "idx_tickets_words": (
        "tickets USING gin "
        "(to_tsvector('crm', left(subject || ' ' || COALESCE(resolution_notes, ''), 50000)))"
    ),
    "idx_knowledge_base_model": (
        "knowledge_base ((metadata #>> '{embedding,model}')) WHERE embedding IS NOT NULL"
    ),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
