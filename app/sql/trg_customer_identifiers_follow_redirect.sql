CREATE OR REPLACE TRIGGER trg_customer_identifiers_follow_redirect
    BEFORE INSERT ON customer_identifiers
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
