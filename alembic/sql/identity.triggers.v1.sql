CREATE OR REPLACE TRIGGER trg_identity_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON identity_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change('UPDATE');
ALTER TABLE identity_events ENABLE ALWAYS TRIGGER trg_identity_events_append_only;
CREATE OR REPLACE TRIGGER trg_customer_identifiers_follow_redirect
    BEFORE INSERT ON customer_identifiers
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
ALTER TABLE customer_identifiers ENABLE ALWAYS TRIGGER trg_customer_identifiers_follow_redirect;
CREATE OR REPLACE TRIGGER trg_conversations_follow_redirect
    BEFORE INSERT ON conversations
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER trg_conversations_follow_redirect;
CREATE OR REPLACE TRIGGER trg_messages_follow_redirect
    BEFORE INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_follow_redirect;
CREATE OR REPLACE TRIGGER trg_tickets_follow_redirect
    BEFORE INSERT ON tickets
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_follow_redirect;
CREATE OR REPLACE TRIGGER trg_customers_refuse_absorbed
    BEFORE INSERT OR UPDATE OF id ON customers
    FOR EACH ROW EXECUTE FUNCTION refuse_absorbed_customer();
ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_refuse_absorbed;
CREATE OR REPLACE TRIGGER trg_customer_identifiers_lost_proof
    AFTER UPDATE OR DELETE ON customer_identifiers
    FOR EACH ROW WHEN (OLD.verified) EXECUTE FUNCTION keep_lost_proof();
ALTER TABLE customer_identifiers ENABLE ALWAYS TRIGGER trg_customer_identifiers_lost_proof;
CREATE OR REPLACE TRIGGER trg_lost_proofs_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON lost_proofs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE lost_proofs ENABLE ALWAYS TRIGGER trg_lost_proofs_append_only;
CREATE OR REPLACE TRIGGER trg_customer_identifiers_record
    AFTER INSERT OR UPDATE OR DELETE ON customer_identifiers
    FOR EACH ROW EXECUTE FUNCTION record_identifier_event();
ALTER TABLE customer_identifiers ENABLE ALWAYS TRIGGER trg_customer_identifiers_record;
CREATE OR REPLACE TRIGGER trg_customer_identifiers_actor_forget
    AFTER INSERT OR UPDATE OR DELETE ON customer_identifiers
    FOR EACH STATEMENT WHEN (current_setting('crm.once_actor', true) <> '')
    EXECUTE FUNCTION forget_ticket_actor();
ALTER TABLE customer_identifiers ENABLE ALWAYS TRIGGER trg_customer_identifiers_actor_forget;
CREATE OR REPLACE TRIGGER trg_customer_merges_record
    AFTER INSERT ON customer_merges
    FOR EACH ROW EXECUTE FUNCTION record_merge_event();
ALTER TABLE customer_merges ENABLE ALWAYS TRIGGER trg_customer_merges_record;
CREATE OR REPLACE TRIGGER trg_customer_merges_record_undo
    AFTER UPDATE ON customer_merges
    FOR EACH ROW WHEN (OLD.undone_at IS NULL AND NEW.undone_at IS NOT NULL)
    EXECUTE FUNCTION record_merge_event();
ALTER TABLE customer_merges ENABLE ALWAYS TRIGGER trg_customer_merges_record_undo;
CREATE OR REPLACE TRIGGER trg_customer_merges_undone_once
    AFTER UPDATE OF undone_at ON customer_merges
    FOR EACH ROW WHEN (
        OLD.undone_at IS NOT NULL AND NEW.undone_at IS DISTINCT FROM OLD.undone_at
        OR NEW.undone_at > clock_timestamp()
    )
    EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE customer_merges ENABLE ALWAYS TRIGGER trg_customer_merges_undone_once;
CREATE OR REPLACE TRIGGER trg_customer_redirects_refuse_living
    BEFORE INSERT OR UPDATE OR DELETE ON customer_redirects
    FOR EACH ROW EXECUTE FUNCTION refuse_living_redirect();
ALTER TABLE customer_redirects ENABLE ALWAYS TRIGGER trg_customer_redirects_refuse_living;
