CREATE OR REPLACE TRIGGER trg_conversations_follow_redirect
    BEFORE INSERT ON conversations
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
