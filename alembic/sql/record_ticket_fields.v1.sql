-- Each change of assignee, category, metadata and priority is a link of the ticket's chain.
CREATE OR REPLACE FUNCTION record_ticket_fields()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entry ticket_field_changes;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    entry.ticket_id := NEW.id;
    entry.changed_by := ticket_actor();
    entry.comment := ticket_comment();
    entry.db_user := session_user;
    entry.hash := COALESCE(
        (SELECT field_hash FROM ticket_record_heads WHERE ticket_id = NEW.id),
        (SELECT hash FROM ticket_field_changes WHERE ticket_id = NEW.id ORDER BY seq DESC LIMIT 1),
        decode(repeat('00', 32), 'hex')
    );
    FOR entry.field, entry.old_value, entry.new_value IN
        SELECT * FROM (VALUES
            ('assigned_to', OLD.assigned_to, NEW.assigned_to),
            ('category', OLD.category, NEW.category),
            ('metadata', OLD.metadata::text, NEW.metadata::text),
            ('priority', OLD.priority, NEW.priority)
        ) AS fields (field, old_value, new_value)
        WHERE old_value IS DISTINCT FROM new_value
    LOOP
        entry.id := gen_random_uuid();
        entry.salt := gen_random_uuid();
        entry.seq := nextval('ticket_field_changes_seq_seq');
        entry.changed_at := clock_timestamp();
        entry.prev_hash := entry.hash;
        entry.hash := ticket_field_change_hash(entry);
        INSERT INTO ticket_field_changes VALUES (entry.*);
    END LOOP;
    UPDATE ticket_record_heads SET field_hash = entry.hash WHERE ticket_id = NEW.id;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_ticket_fields() FROM PUBLIC;
