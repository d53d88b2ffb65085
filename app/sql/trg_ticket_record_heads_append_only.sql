CREATE OR REPLACE TRIGGER trg_ticket_record_heads_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ticket_record_heads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change('UPDATE');
ALTER TABLE ticket_record_heads ENABLE ALWAYS TRIGGER trg_ticket_record_heads_append_only;
