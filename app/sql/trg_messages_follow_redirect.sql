CREATE OR REPLACE TRIGGER trg_messages_follow_redirect
    BEFORE INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
