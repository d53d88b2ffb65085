CREATE OR REPLACE TRIGGER trg_ticket_status_insert
    BEFORE INSERT ON tickets
    FOR EACH ROW EXECUTE FUNCTION keep_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_status_insert;
