CREATE OR REPLACE TRIGGER trg_ticket_actor_forget
    AFTER INSERT OR UPDATE ON tickets
    FOR EACH STATEMENT WHEN (current_setting('crm.once', true) = 'on')
    EXECUTE FUNCTION forget_ticket_actor();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_ticket_actor_forget;
