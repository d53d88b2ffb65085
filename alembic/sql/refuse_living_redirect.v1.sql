-- A redirect is where the merges of its customer lead, one after the other, as long as they are not undone; and
-- only an id that no customer has can lead to another one.
CREATE OR REPLACE FUNCTION refuse_living_redirect()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    absorbed uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.absorbed_id ELSE NEW.absorbed_id END;
    leads_to uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.absorbed_id ELSE NEW.customer_id END;
    living uuid;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    WITH RECURSIVE chain (id) AS (
        SELECT absorbed
        UNION
        SELECT merge.survivor_id FROM chain
        JOIN customer_merges AS merge ON merge.absorbed_id = chain.id AND merge.undone_at IS NULL
    )
    SELECT id INTO living FROM chain
    WHERE NOT EXISTS (SELECT FROM customer_merges WHERE absorbed_id = chain.id AND undone_at IS NULL);
    IF living IS DISTINCT FROM leads_to
        OR TG_OP <> 'DELETE' AND EXISTS (SELECT FROM customers WHERE id = absorbed)
    THEN
        RAISE EXCEPTION 'the merges of customer % do not lead there', absorbed
            USING ERRCODE = 'check_violation', CONSTRAINT = 'customer_redirects_absorbed',
                TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END;
$$;
REVOKE ALL ON FUNCTION refuse_living_redirect() FROM PUBLIC;
