CREATE OR REPLACE TRIGGER trg_ticket_number
    BEFORE INSERT ON tickets
    FOR EACH ROW WHEN (NEW.ticket_number IS NULL OR NEW.ticket_number = '')
    EXECUTE FUNCTION generate_ticket_number();
