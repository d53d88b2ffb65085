"""Page through tickets by the time of their creation.

Lists are in the order ``(created_at, id)``, newest first, and had to sort all tickets for every page.

Locks: builds CONCURRENTLY, so reads and writes go on; waits for older transactions. An invalid leftover of an
interrupted build is dropped first.
Reversible: yes.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_tickets_created")
        op.execute("CREATE INDEX CONCURRENTLY idx_tickets_created ON tickets (created_at, id)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS idx_tickets_created")
