CREATE OR REPLACE TRIGGER trg_channel_settings_record
    AFTER INSERT OR UPDATE OR DELETE ON channel_configs
    FOR EACH ROW EXECUTE FUNCTION record_channel_settings();
ALTER TABLE channel_configs ENABLE ALWAYS TRIGGER trg_channel_settings_record;
CREATE OR REPLACE TRIGGER trg_channel_settings_actor_forget
    AFTER INSERT OR UPDATE OR DELETE ON channel_configs
    FOR EACH STATEMENT WHEN (current_setting('crm.once_actor', true) <> '')
    EXECUTE FUNCTION forget_ticket_actor();
ALTER TABLE channel_configs ENABLE ALWAYS TRIGGER trg_channel_settings_actor_forget;
CREATE OR REPLACE TRIGGER trg_channel_setting_changes_append_only
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON channel_setting_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE channel_setting_changes ENABLE ALWAYS TRIGGER trg_channel_setting_changes_append_only;
