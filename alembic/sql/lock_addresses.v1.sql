-- Locks addresses until the transaction ends, against all who resolve, attach or detach them.
-- Sorted, so that two calls with overlapping addresses cannot wait for each other in a circle.
CREATE OR REPLACE FUNCTION lock_addresses(names text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(key)
    FROM (
        SELECT DISTINCT hashtextextended('crm/identity/' || name, 0) AS key
        FROM unnest(names) AS name ORDER BY key
    ) AS sorted;
END;
$$;
