CREATE OR REPLACE TRIGGER trg_ticket_record_insert
    AFTER INSERT ON tickets
    FOR EACH ROW
    EXECUTE FUNCTION record_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_record_insert;
