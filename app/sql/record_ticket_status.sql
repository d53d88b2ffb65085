CREATE OR REPLACE FUNCTION record_ticket_status()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entry ticket_status_changes;
BEGIN
    entry.id := gen_random_uuid();
    entry.seq := nextval('ticket_status_changes_seq_seq');
    entry.ticket_id := NEW.id;
    entry.new_status := NEW.status;
    entry.forced := false;
    IF TG_OP = 'UPDATE' THEN
        entry.old_status := COALESCE(OLD.status, 'open');
        entry.forced := NOT ticket_transition_allowed(entry.old_status, entry.new_status);
    END IF;
    entry.changed_by := ticket_actor();
    entry.changed_at := clock_timestamp();
    entry.comment := NULLIF(current_setting('crm.comment', true), '');
    entry.db_user := session_user;
    -- The ticket's row lock is held, so nobody else can append to this chain now.
    entry.prev_hash := COALESCE(
        (SELECT status_hash FROM ticket_record_heads WHERE ticket_id = NEW.id),
        (SELECT hash FROM ticket_status_changes WHERE ticket_id = NEW.id ORDER BY seq DESC LIMIT 1),
        decode(repeat('00', 32), 'hex')
    );
    entry.hash := ticket_status_change_hash(entry);
    INSERT INTO ticket_status_changes VALUES (entry.*);
    IF TG_OP = 'INSERT' THEN
        INSERT INTO ticket_record_heads (ticket_id, status_hash) VALUES (NEW.id, entry.hash);
    ELSE
        UPDATE ticket_record_heads SET status_hash = entry.hash WHERE ticket_id = NEW.id;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_ticket_status() FROM PUBLIC;
