CREATE OR REPLACE FUNCTION follow_customer_redirect()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    living uuid := NEW.customer_id;
BEGIN
    LOOP
        -- Waits for a merge of this customer that is under way, and then finds it gone.
        PERFORM 1 FROM customers WHERE id = living FOR KEY SHARE;
        EXIT WHEN FOUND;
        SELECT customer_id INTO living FROM customer_redirects WHERE absorbed_id = living;
        IF NOT FOUND THEN
            RETURN NEW;  -- There never was such a customer: the foreign key says so.
        END IF;
    END LOOP;
    NEW.customer_id := living;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION follow_customer_redirect() FROM PUBLIC;
