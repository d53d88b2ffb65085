-- Keeps that a customer had proved an address and holds it no more, whoever took it.
CREATE OR REPLACE FUNCTION keep_lost_proof()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' OR NEW.customer_id <> OLD.customer_id OR NEW.verified IS NOT TRUE THEN
        -- A customer that is deleted with its identifiers has nothing to lose any more.
        INSERT INTO lost_proofs (customer_id, identifier_id)
        SELECT id, OLD.id FROM customers WHERE id = OLD.customer_id;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION keep_lost_proof() FROM PUBLIC;
