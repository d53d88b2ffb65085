"""Let the app record identity events without a right to write into their table.

``record_identity_events`` takes a JSON array and writes it with the rights of the table's owner. What an
event tells is the caller's word; its order, time and database user are the database's. The services of this
version write through it, so ``crm db roles`` takes INSERT on ``identity_events`` from the app and lets it
call the function. Services of an earlier version are refused from then on. An app role that ``crm db roles``
did not make needs EXECUTE on the function.

Locks: none on tables.
Reversible: yes; no row is touched.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE OR REPLACE FUNCTION record_identity_events(events jsonb)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF jsonb_typeof(events) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'identity events are an array of objects' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Order, time and database user are not the caller's to say: whatever else an event names is ignored.
    INSERT INTO identity_events (
        id, customer_id, event, identifier_id, other_customer_id, merge_id, actor, reason, details
    )
    SELECT
        COALESCE(e.id, gen_random_uuid()), e.customer_id, e.event, e.identifier_id, e.other_customer_id,
        e.merge_id, e.actor, e.reason, COALESCE(e.details, '{}')
    FROM jsonb_to_recordset(events) AS e (
        id uuid, customer_id uuid, event text, identifier_id uuid, other_customer_id uuid, merge_id uuid,
        actor text, reason text, details jsonb
    );
END;
$$
"""


def upgrade() -> None:
    op.execute(UPGRADE)
    op.execute("REVOKE ALL ON FUNCTION record_identity_events(jsonb) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION record_identity_events(jsonb)")
