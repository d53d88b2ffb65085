-- A row for an absorbed customer goes to the living one; it waits for a merge that is under way.
CREATE OR REPLACE FUNCTION follow_customer_redirect()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    named uuid;
    living uuid;
    target uuid;
    locked boolean;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    -- The trigger's argument names the column; without one it is customer_id, read without a detour.
    IF TG_NARGS = 0 THEN
        named := NEW.customer_id;
    ELSE
        EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO named USING NEW;
    END IF;
    living := named;
    LOOP
        -- Waits for a merge of this customer, or its undoing, that is under way.
        PERFORM 1 FROM customers WHERE id = living FOR KEY SHARE;
        locked := FOUND;
        EXIT WHEN locked AND living = named;
        -- Both in one look: a customer that is being restored is in one of the two at any time.
        SELECT id INTO target FROM (
            SELECT id FROM customers WHERE id = named
            UNION ALL SELECT customer_id FROM customer_redirects WHERE absorbed_id = named
        ) AS current;
        IF NOT FOUND THEN
            RETURN NEW;  -- There never was such a customer: the foreign key says so.
        END IF;
        EXIT WHEN locked AND living = target;
        living := target;
    END LOOP;
    IF living = named THEN
        RETURN NEW;
    ELSIF TG_NARGS = 0 THEN
        NEW.customer_id := living;
        RETURN NEW;
    END IF;
    RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], living));
END;
$$;
REVOKE ALL ON FUNCTION follow_customer_redirect() FROM PUBLIC;
