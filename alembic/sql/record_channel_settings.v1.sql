-- Every change of a channel's settings leaves an entry with what differs, whoever makes it.
CREATE OR REPLACE FUNCTION record_channel_settings()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    differing text[];
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(key) INTO differing FROM jsonb_object_keys(COALESCE(new_row, old_row)) AS key
    WHERE key NOT IN ('id', 'created_at', 'updated_at') AND old_row -> key IS DISTINCT FROM new_row -> key;
    IF differing IS NOT NULL THEN
        INSERT INTO channel_setting_changes
            (channel, old_values, new_values, changed_by, comment, db_user)
        SELECT COALESCE(new_row, old_row) ->> 'channel',
            (SELECT jsonb_object_agg(key, old_row -> key) FROM unnest(differing) AS key WHERE old_row IS NOT NULL),
            (SELECT jsonb_object_agg(key, new_row -> key) FROM unnest(differing) AS key WHERE new_row IS NOT NULL),
            ticket_actor(), ticket_comment(), session_user;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION record_channel_settings() FROM PUBLIC;
