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
        -- Both in one look: a customer that is being restored is in one of the two at any time.
        SELECT id INTO target FROM (
            SELECT id FROM customers WHERE id = NEW.customer_id
            UNION ALL SELECT customer_id FROM customer_redirects WHERE absorbed_id = NEW.customer_id
        ) AS current;
        IF NOT FOUND THEN
            RETURN NEW;  -- There never was such a customer: the foreign key says so.
        END IF;
        EXIT WHEN locked AND living = target;
        living := target;
    END LOOP;
    NEW.customer_id := living;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION follow_customer_redirect() FROM PUBLIC;
