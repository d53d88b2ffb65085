CREATE OR REPLACE TRIGGER trg_ticket_field_changes_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ticket_field_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE ticket_field_changes ENABLE ALWAYS TRIGGER trg_ticket_field_changes_append_only;
