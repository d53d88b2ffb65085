"""Number tickets in full beyond 9,999.

``LPAD(n, 4, '0')`` cuts longer numbers: ticket 10,001 would be TKT-1000 again and fail on the unique key. And
the function finds its sequence whatever the client's search_path is. A number that raw SQL has used already
is passed over.

Locks: replaces a function; no table lock.
Reversible: yes; numbers already given stay as they are.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute_file("generate_ticket_number", version=2)


def downgrade() -> None:
    op.execute_file("generate_ticket_number", version=1)
