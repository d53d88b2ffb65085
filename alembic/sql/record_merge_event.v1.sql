-- A merge and its undoing leave an event, whoever writes them down.
CREATE OR REPLACE FUNCTION record_merge_event()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO identity_events (customer_id, event, other_customer_id, merge_id, actor, reason)
        VALUES (NEW.survivor_id, 'merged', NEW.absorbed_id, NEW.id, NEW.actor, NEW.reason);
    ELSE
        INSERT INTO identity_events (customer_id, event, other_customer_id, merge_id, actor, reason)
        SELECT NEW.absorbed_id, 'unmerged',
            COALESCE(
                (SELECT customer_id FROM customer_redirects WHERE absorbed_id = NEW.survivor_id),
                NEW.survivor_id
            ),
            NEW.id, COALESCE(NEW.undone_by, ticket_actor()), NEW.undo_reason;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_merge_event() FROM PUBLIC;
