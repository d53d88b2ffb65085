CREATE OR REPLACE TRIGGER trg_ticket_status_update
    BEFORE UPDATE ON tickets
    FOR EACH ROW WHEN (
        NEW.status IS DISTINCT FROM OLD.status OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at
    )
    EXECUTE FUNCTION keep_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_status_update;
