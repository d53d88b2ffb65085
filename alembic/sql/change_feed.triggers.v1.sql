CREATE OR REPLACE TRIGGER trg_customers_feed_insert
    AFTER INSERT ON customers REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_feed_insert;
CREATE OR REPLACE TRIGGER trg_customers_feed_update
    AFTER UPDATE ON customers REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_feed_update;
CREATE OR REPLACE TRIGGER trg_customers_feed_delete
    AFTER DELETE ON customers REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_feed_delete;
CREATE OR REPLACE TRIGGER trg_conversations_feed_insert
    AFTER INSERT ON conversations REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER trg_conversations_feed_insert;
CREATE OR REPLACE TRIGGER trg_conversations_feed_update
    AFTER UPDATE ON conversations REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER trg_conversations_feed_update;
CREATE OR REPLACE TRIGGER trg_conversations_feed_delete
    AFTER DELETE ON conversations REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER trg_conversations_feed_delete;
CREATE OR REPLACE TRIGGER trg_messages_feed_insert
    AFTER INSERT ON messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_feed_insert;
CREATE OR REPLACE TRIGGER trg_messages_feed_update
    AFTER UPDATE ON messages REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_feed_update;
CREATE OR REPLACE TRIGGER trg_messages_feed_delete
    AFTER DELETE ON messages REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_feed_delete;
CREATE OR REPLACE TRIGGER trg_tickets_feed_insert
    AFTER INSERT ON tickets REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_feed_insert;
CREATE OR REPLACE TRIGGER trg_tickets_feed_update
    AFTER UPDATE ON tickets REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_feed_update;
CREATE OR REPLACE TRIGGER trg_tickets_feed_delete
    AFTER DELETE ON tickets REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_feed_delete;
CREATE OR REPLACE TRIGGER trg_identity_events_feed_insert
    AFTER INSERT ON identity_events REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION feed_changes();
ALTER TABLE identity_events ENABLE ALWAYS TRIGGER trg_identity_events_feed_insert;
