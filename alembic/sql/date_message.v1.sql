-- A message's time is the clock's, whoever writes it: now() would be equal for all of one transaction.
CREATE OR REPLACE FUNCTION date_message()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    NEW.created_at := clock_timestamp();
    RETURN NEW;
END;
$$;
