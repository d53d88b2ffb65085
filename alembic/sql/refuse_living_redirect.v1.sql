-- Only an id that no customer has can lead to another one.
CREATE OR REPLACE FUNCTION refuse_living_redirect()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM customers WHERE id = NEW.absorbed_id) THEN
        RAISE EXCEPTION 'customer % is there and leads nowhere', NEW.absorbed_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'customer_redirects_absorbed',
                TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION refuse_living_redirect() FROM PUBLIC;
