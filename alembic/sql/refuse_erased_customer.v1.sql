-- Nothing is written for a customer that was erased: who comes back is somebody new.
CREATE OR REPLACE FUNCTION refuse_erased_customer()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    customer uuid;
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NEW;
    END IF;
    IF TG_TABLE_NAME = 'customers' THEN
        IF (OLD.email, OLD.name, OLD.phone, OLD.company, OLD.metadata)
            IS NOT DISTINCT FROM (NEW.email, NEW.name, NEW.phone, NEW.company, NEW.metadata)
        THEN
            RETURN NEW;
        END IF;
        customer := NEW.id;
    ELSE
        customer := NEW.customer_id;
    END IF;
    IF EXISTS (SELECT FROM erasures WHERE customer_id = customer) THEN
        RAISE EXCEPTION 'customer % was erased', customer USING ERRCODE = 'restrict_violation',
            CONSTRAINT = 'customers_not_erased', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
    END IF;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION refuse_erased_customer() FROM PUBLIC;
