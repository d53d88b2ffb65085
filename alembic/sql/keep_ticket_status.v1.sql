-- Refuses a step that is not allowed, and keeps resolved_at.
CREATE OR REPLACE FUNCTION keep_ticket_status()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    old_status text;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.status := COALESCE(NEW.status, 'open');
        IF NEW.status = 'resolved' THEN
            NEW.resolved_at := COALESCE(NEW.resolved_at, clock_timestamp());
        END IF;
        RETURN NEW;
    END IF;

    old_status := COALESCE(OLD.status, 'open');
    IF NEW.status IS NULL OR NOT (
        NEW.status = old_status
        OR ticket_transition_allowed(old_status, NEW.status)
        OR COALESCE(current_setting('crm.force', true), '') = 'on'
        OR COALESCE(current_setting('crm.once_mode', true), '') = 'force'
    ) THEN
        RAISE EXCEPTION 'a ticket cannot go from % to %', old_status, COALESCE(NEW.status, 'NULL')
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tickets_status_transition',
                TABLE = 'tickets', SCHEMA = TG_TABLE_SCHEMA;
    END IF;

    IF NEW.status NOT IN ('resolved', 'closed') THEN
        NEW.resolved_at := NULL;
    ELSIF NEW.status = old_status THEN
        -- It may be corrected, but not taken away.
        NEW.resolved_at := COALESCE(NEW.resolved_at, OLD.resolved_at);
    ELSIF NEW.status = 'closed' THEN
        NEW.resolved_at := COALESCE(OLD.resolved_at, NEW.resolved_at);
    ELSIF NEW.resolved_at IS NULL OR NEW.resolved_at IS NOT DISTINCT FROM OLD.resolved_at THEN
        NEW.resolved_at := clock_timestamp();
    END IF;
    RETURN NEW;
END;
$$;
