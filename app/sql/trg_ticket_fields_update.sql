CREATE OR REPLACE TRIGGER trg_ticket_fields_update
    AFTER UPDATE ON tickets
    FOR EACH ROW WHEN (
        NEW.assigned_to IS DISTINCT FROM OLD.assigned_to
        OR NEW.category IS DISTINCT FROM OLD.category
        OR NEW.priority IS DISTINCT FROM OLD.priority
    )
    EXECUTE FUNCTION record_ticket_fields();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_fields_update;
