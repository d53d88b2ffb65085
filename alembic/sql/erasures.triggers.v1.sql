CREATE OR REPLACE TRIGGER trg_erasures_erase_customer
    BEFORE INSERT ON erasures
    FOR EACH ROW EXECUTE FUNCTION erase_customer();
ALTER TABLE erasures ENABLE ALWAYS TRIGGER trg_erasures_erase_customer;
CREATE OR REPLACE TRIGGER trg_erasures_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE erasures ENABLE ALWAYS TRIGGER trg_erasures_append_only;
CREATE OR REPLACE TRIGGER trg_customers_refuse_erased
    BEFORE UPDATE ON customers
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_refuse_erased;
-- After the redirect was followed: triggers run in the order of their names.
CREATE OR REPLACE TRIGGER trg_customer_identifiers_refuse_erased
    BEFORE INSERT OR UPDATE OF customer_id ON customer_identifiers
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE customer_identifiers ENABLE ALWAYS TRIGGER trg_customer_identifiers_refuse_erased;
CREATE OR REPLACE TRIGGER trg_conversations_refuse_erased
    BEFORE INSERT OR UPDATE OF customer_id ON conversations
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER trg_conversations_refuse_erased;
CREATE OR REPLACE TRIGGER trg_messages_refuse_erased
    BEFORE INSERT OR UPDATE OF customer_id ON messages
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_refuse_erased;
-- What becomes of a message, such as its delivery, may still be told; words are not put back.
CREATE OR REPLACE TRIGGER trg_messages_refuse_erased_words
    BEFORE UPDATE OF content ON messages
    FOR EACH ROW WHEN (NEW.content <> '' AND NEW.content <> OLD.content)
    EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_refuse_erased_words;
CREATE OR REPLACE TRIGGER trg_tickets_refuse_erased
    BEFORE INSERT OR UPDATE OF customer_id ON tickets
    FOR EACH ROW EXECUTE FUNCTION refuse_erased_customer();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_refuse_erased;
