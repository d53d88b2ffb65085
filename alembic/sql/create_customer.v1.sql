-- A customer that nobody has met: all of it, or nothing and false where somebody holds one of the addresses by
-- now. They are locked first, and looked for under the lock. The profiles of those passed_over tell others.
CREATE OR REPLACE FUNCTION create_customer(person jsonb)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    p record;
BEGIN
    SELECT * INTO p FROM jsonb_to_record(person) AS r (
        locks text[], positions integer[], types text[], addresses text[], keys text[], passed_over uuid[],
        customer jsonb, identifiers jsonb, events jsonb
    );
    PERFORM lock_addresses(p.locks);
    IF EXISTS (
        SELECT FROM identity_matches(p.positions, p.types, p.addresses, p.keys) AS held
        WHERE held.identifier_id IS NOT NULL OR held.customer_id <> ALL (p.passed_over)
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO customers (id, email, phone, name, company)
    SELECT c.id, c.email, c.phone, c.name, c.company
    FROM jsonb_to_record(p.customer) AS c (id uuid, email text, phone text, name text, company text);
    PERFORM record_identity_events(p.events);
    PERFORM set_config('crm.once_actor', p.events -> 0 ->> 'actor', true);
    INSERT INTO customer_identifiers (id, customer_id, identifier_type, identifier_value, channel, verified)
    SELECT i.id, i.customer_id, i.identifier_type, i.identifier_value, i.channel, i.verified
    FROM jsonb_to_recordset(p.identifiers) AS i (
        id uuid, customer_id uuid, identifier_type text, identifier_value text, channel text, verified boolean
    );
    RETURN true;
EXCEPTION
    -- Somebody who takes none of the locks was faster.
    WHEN unique_violation THEN
        RETURN false;
END;
$$;
