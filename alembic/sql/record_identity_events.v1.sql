-- Adds events that no trigger writes; those that triggers write are left out.
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
    )
    -- What happens to a row, triggers tell.
    WHERE e.event IS NULL
        OR e.event NOT IN ('attached', 'detached', 'verified', 'reassigned', 'merged', 'unmerged', 'erased')
        OR e.event = 'reassigned' AND e.identifier_id IS NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_identity_events(jsonb) FROM PUBLIC;
