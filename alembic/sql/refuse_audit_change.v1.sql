-- What only triggers write: a client's statement is refused, but for what the trigger's arguments allow.
CREATE OR REPLACE FUNCTION refuse_audit_change()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    -- Depth 1 is a client's own statement, deeper is one that a trigger makes.
    IF pg_trigger_depth() > 1 AND (TG_OP = 'INSERT' OR TG_OP = ANY (TG_ARGV)) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is written by triggers only; % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END;
$$;
