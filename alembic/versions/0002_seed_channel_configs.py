"""Seed the configuration of the three channels.

A channel that somebody has configured already keeps its row.

Locks: three rows.
Reversible: yes; rows that were edited since stay.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A downgrade takes back the rows of this table that the upgrade made.
SEEDS = "channel_configs"

ROWS = r"""
('email', TRUE, 500, 'formal',
 E'Hi {{customer_name}},\n\n{{response_body}}\n\nBest regards,\nTechCorp Support Team\n'
  'support@techcorp.io | status.techcorp.io',
 'GMAIL_'),
('whatsapp', TRUE, 1600, 'conversational',
 '{{response_body}}',
 'TWILIO_'),
('web_form', TRUE, 300, 'semi-formal',
 E'Hi {{customer_name}},\n\n{{response_body}}\n\nYour ticket reference: {{ticket_number}}\n'
  'Track your ticket at support.techcorp.io',
 NULL)
"""
COLUMNS = "channel, is_enabled, max_response_length, tone, response_template, api_config_ref"


def upgrade() -> None:
    op.execute(f"INSERT INTO channel_configs ({COLUMNS}) VALUES {ROWS} ON CONFLICT (channel) DO NOTHING")


def downgrade() -> None:
    op.execute(f"""
        DELETE FROM channel_configs
        WHERE metadata = '{{}}' AND EXISTS (
            SELECT FROM (VALUES {ROWS}) AS seeded WHERE ROW({COLUMNS}) IS NOT DISTINCT FROM ROW(seeded.*)
        )
    """)
