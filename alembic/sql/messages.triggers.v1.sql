-- Runs after trg_messages_follow_redirect, which may wait for the customer's lock. A time that the writer gives
-- stays, as that of an imported message.
CREATE OR REPLACE TRIGGER trg_messages_set_created_at
    BEFORE INSERT ON messages
    FOR EACH ROW WHEN (NEW.created_at = now())
    EXECUTE FUNCTION date_message();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_set_created_at;
-- Before the key is compared: the other spelling of an id is the same id.
CREATE OR REPLACE TRIGGER trg_provider_messages_bare_id
    BEFORE INSERT OR UPDATE OF channel, provider_message_id ON provider_messages
    FOR EACH ROW WHEN (NEW.channel = 'email' AND NEW.provider_message_id ~ '^<.*[^<>[:space:]].*>$')
    EXECUTE FUNCTION bare_message_id();
ALTER TABLE provider_messages ENABLE ALWAYS TRIGGER trg_provider_messages_bare_id;
CREATE OR REPLACE TRIGGER trg_early_delivery_reports_bare_id
    BEFORE INSERT OR UPDATE OF channel, provider_message_id ON early_delivery_reports
    FOR EACH ROW WHEN (NEW.channel = 'email' AND NEW.provider_message_id ~ '^<.*[^<>[:space:]].*>$')
    EXECUTE FUNCTION bare_message_id();
ALTER TABLE early_delivery_reports ENABLE ALWAYS TRIGGER trg_early_delivery_reports_bare_id;
