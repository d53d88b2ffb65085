-- The customers who have a key; no row if they are more than so many.
--
-- The customers' own rows come first, one for each: of gmail.com no more of them are read than the limit. The index
-- is read to the end of a key all the same, so in a large base a key that ANALYZE saw with many is not looked up:
-- of one that it did not see, or before the first ANALYZE, the planner expects at most one customer in 200.
CREATE OR REPLACE FUNCTION key_holders(key text, most integer)
RETURNS SETOF uuid LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET jit = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    hashes CONSTANT bigint[] := ARRAY[hashtextextended(key, 0)];
    customers CONSTANT real := (SELECT reltuples FROM pg_class WHERE oid = 'customers'::regclass);
    holders uuid[];
BEGIN
    IF customers > 80 * most AND likely_key_holders(key) > greatest(most, customers * 0.006) THEN
        RETURN;
    END IF;
    holders := ARRAY(
        SELECT id FROM customers WHERE customer_key_hashes(name, company, email, phone) @> hashes
        LIMIT most + 1
    );
    IF cardinality(holders) <= most AND key ~ '^(domain|local|mailbox|number) ' THEN
        holders := ARRAY(
            SELECT unnest(holders)
            UNION
            SELECT customer_id FROM customer_identifiers
            WHERE identifier_key_hashes(identifier_type, identifier_value) @> hashes
        );
    END IF;
    IF cardinality(holders) <= most THEN
        RETURN QUERY SELECT unnest(holders);
    END IF;
END;
$$;
