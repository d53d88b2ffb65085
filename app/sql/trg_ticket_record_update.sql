CREATE OR REPLACE TRIGGER trg_ticket_record_update
    AFTER UPDATE ON tickets
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION record_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_record_update;
