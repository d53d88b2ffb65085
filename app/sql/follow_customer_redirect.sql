CREATE OR REPLACE FUNCTION follow_customer_redirect()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    living uuid := NEW.customer_id;
    target uuid;
    locked boolean;
BEGIN
    LOOP
        -- Waits for a merge of this customer, or its undoing, that is under way.
        PERFORM 1 FROM customers WHERE id = living FOR KEY SHARE;
        locked := FOUND;
        EXIT WHEN locked AND living = NEW.customer_id;
        SELECT customer_id INTO target FROM customer_redirects WHERE absorbed_id = NEW.customer_id;
        IF NOT FOUND THEN
            RETURN NEW;  -- Restored meanwhile, or there never was such a customer: the foreign key says so.
        END IF;
        EXIT WHEN locked AND living = target;
        living := target;
    END LOOP;
    NEW.customer_id := living;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION follow_customer_redirect() FROM PUBLIC;
