-- A ticket's opening and each change of its status are links of its chain; an imported one's at its own times.
CREATE OR REPLACE FUNCTION record_ticket_status()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entry ticket_status_changes;
    statuses text[] := ARRAY[NEW.status];
    times timestamptz[] := ARRAY[clock_timestamp()];
    past timestamptz := now() - interval '1 hour';
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    -- A ticket that was opened before that and is stored now comes from another system; an import says so itself.
    IF current_setting('crm.once_mode', true) = 'import' THEN
        past := now();
    END IF;
    entry.comment := ticket_comment();
    IF TG_OP = 'INSERT' AND NEW.created_at < past THEN
        -- Its record has the times that it tells, and says so; as finished, the steps that they tell of.
        entry.comment := concat_ws(': ', 'imported', entry.comment);
        times := ARRAY[NEW.created_at];
        IF NEW.status IN ('resolved', 'closed') THEN
            statuses := ARRAY['open'];
            IF NEW.resolved_at IS NOT NULL THEN
                statuses := statuses || 'resolved'::text;
                times := times || LEAST(GREATEST(NEW.resolved_at, NEW.created_at), clock_timestamp());
            END IF;
            IF NEW.status = 'closed' THEN
                statuses := statuses || 'closed'::text;
                times := times || GREATEST(
                    times[cardinality(times)], CASE WHEN NEW.updated_at < past THEN NEW.updated_at END
                );
            END IF;
        END IF;
    ELSIF TG_OP = 'UPDATE' THEN
        entry.new_status := COALESCE(OLD.status, 'open');
        IF NEW.status = 'resolved' AND NEW.resolved_at < past AND EXISTS (
            SELECT FROM ticket_status_changes
            WHERE ticket_id = NEW.id AND old_status IS NULL AND comment LIKE 'imported%'
        ) THEN
            -- What happened to an imported ticket, told afterwards; never before what is told already.
            entry.comment := concat_ws(': ', 'imported', entry.comment);
            times := ARRAY[GREATEST(NEW.resolved_at, (
                SELECT changed_at FROM ticket_status_changes
                WHERE ticket_id = NEW.id ORDER BY seq DESC LIMIT 1
            ))];
        END IF;
    END IF;
    entry.ticket_id := NEW.id;
    entry.changed_by := ticket_actor();
    entry.db_user := session_user;
    entry.salt := gen_random_uuid();
    -- The ticket's row lock is held, so nobody else can append to this chain now.
    entry.hash := COALESCE(
        (SELECT status_hash FROM ticket_record_heads WHERE ticket_id = NEW.id),
        (SELECT hash FROM ticket_status_changes WHERE ticket_id = NEW.id ORDER BY seq DESC LIMIT 1),
        decode(repeat('00', 32), 'hex')
    );
    FOR step IN 1..cardinality(statuses) LOOP
        entry.id := gen_random_uuid();
        entry.seq := nextval('ticket_status_changes_seq_seq');
        entry.old_status := entry.new_status;
        entry.new_status := statuses[step];
        entry.changed_at := times[step];
        entry.forced := COALESCE(entry.old_status <> entry.new_status, false)
            AND NOT ticket_transition_allowed(entry.old_status, entry.new_status);
        entry.prev_hash := entry.hash;
        entry.hash := ticket_status_change_hash(entry);
        INSERT INTO ticket_status_changes VALUES (entry.*);
    END LOOP;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO ticket_record_heads (ticket_id, status_hash) VALUES (NEW.id, entry.hash);
    ELSE
        UPDATE ticket_record_heads SET status_hash = entry.hash WHERE ticket_id = NEW.id;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_ticket_status() FROM PUBLIC;
