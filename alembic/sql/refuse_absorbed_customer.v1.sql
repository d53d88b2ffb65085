-- An absorbed customer's id does not come back, unless its merge is undone.
CREATE OR REPLACE FUNCTION refuse_absorbed_customer()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    -- Waits for a merge of this customer that is under way, and keeps one from beginning.
    PERFORM 1 FROM customers WHERE id = NEW.id FOR KEY SHARE;
    IF EXISTS (SELECT FROM customer_redirects WHERE absorbed_id = NEW.id) THEN
        RAISE EXCEPTION 'customer % was absorbed by another one', NEW.id
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'customers_not_absorbed',
                TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION refuse_absorbed_customer() FROM PUBLIC;
