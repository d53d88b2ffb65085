CREATE OR REPLACE TRIGGER trg_tickets_follow_redirect
    BEFORE INSERT ON tickets
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
