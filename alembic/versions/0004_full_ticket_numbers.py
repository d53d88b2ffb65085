"""Number tickets in full beyond 9,999.

``LPAD(n, 4, '0')`` cuts longer numbers: ticket 10,001 would be TKT-1000 again and fail on the unique key.

Locks: replaces a function; no table lock.
Reversible: yes; numbers already given stay as they are.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION generate_ticket_number()
RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number text := nextval('ticket_number_seq')::text;
BEGIN
    NEW.ticket_number := 'TKT-' || lpad(number, GREATEST(4, length(number)), '0');
    RETURN NEW;
END;
$$
"""

FUNCTION_OF_0001 = """
CREATE OR REPLACE FUNCTION generate_ticket_number()
RETURNS TRIGGER AS $$
BEGIN
    NEW.ticket_number := 'TKT-' || LPAD(nextval('ticket_number_seq')::TEXT, 4, '0');
    RETURN NEW;
END;
$$ LANGUAGE plpgsql
"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    op.execute(FUNCTION_OF_0001)
