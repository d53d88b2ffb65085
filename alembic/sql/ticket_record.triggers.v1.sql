CREATE OR REPLACE TRIGGER trg_ticket_status_insert
    BEFORE INSERT ON tickets
    FOR EACH ROW EXECUTE FUNCTION keep_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_status_insert;
CREATE OR REPLACE TRIGGER trg_ticket_status_update
    BEFORE UPDATE ON tickets
    FOR EACH ROW WHEN (
        NEW.status IS DISTINCT FROM OLD.status OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at
    )
    EXECUTE FUNCTION keep_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_status_update;
CREATE OR REPLACE TRIGGER trg_ticket_record_insert
    AFTER INSERT ON tickets
    FOR EACH ROW
    EXECUTE FUNCTION record_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_record_insert;
CREATE OR REPLACE TRIGGER trg_ticket_record_update
    AFTER UPDATE ON tickets
    FOR EACH ROW WHEN (
        NEW.status IS DISTINCT FROM OLD.status OR current_setting('crm.once_mode', true) = 'remark'
    )
    EXECUTE FUNCTION record_ticket_status();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_record_update;
CREATE OR REPLACE TRIGGER trg_ticket_fields_update
    AFTER UPDATE ON tickets
    FOR EACH ROW WHEN (
        NEW.assigned_to IS DISTINCT FROM OLD.assigned_to
        OR NEW.category IS DISTINCT FROM OLD.category
        OR NEW.priority IS DISTINCT FROM OLD.priority
        OR NEW.metadata IS DISTINCT FROM OLD.metadata
    )
    EXECUTE FUNCTION record_ticket_fields();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_fields_update;
CREATE OR REPLACE TRIGGER trg_ticket_actor_forget
    AFTER INSERT OR UPDATE ON tickets
    FOR EACH STATEMENT WHEN (current_setting('crm.once_actor', true) <> '')
    EXECUTE FUNCTION forget_ticket_actor();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_actor_forget;
CREATE OR REPLACE TRIGGER trg_ticket_status_changes_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ticket_status_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change('UPDATE');
ALTER TABLE ticket_status_changes ENABLE ALWAYS TRIGGER trg_ticket_status_changes_append_only;
CREATE OR REPLACE TRIGGER trg_ticket_field_changes_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ticket_field_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change('UPDATE');
ALTER TABLE ticket_field_changes ENABLE ALWAYS TRIGGER trg_ticket_field_changes_append_only;
CREATE OR REPLACE TRIGGER trg_ticket_record_heads_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ticket_record_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change('UPDATE');
ALTER TABLE ticket_record_heads ENABLE ALWAYS TRIGGER trg_ticket_record_heads_append_only;
