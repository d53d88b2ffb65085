CREATE OR REPLACE FUNCTION refuse_audit_change()
RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Depth 1 is a client's own INSERT, deeper is one that a trigger makes.
    IF TG_OP = 'INSERT' AND pg_trigger_depth() > 1 THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is written by triggers only; % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_TABLE_NAME || '_append_only',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END;
$$;
