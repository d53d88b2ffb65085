CREATE OR REPLACE TRIGGER trg_identity_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON identity_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE identity_events ENABLE ALWAYS TRIGGER trg_identity_events_append_only;
