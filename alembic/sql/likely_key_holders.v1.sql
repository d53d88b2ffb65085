-- How many customers have a key in their own rows, as the planner expects by what ANALYZE last saw: nothing is read.
-- Volatile, as PostgreSQL has it of whatever calls EXPLAIN.
CREATE OR REPLACE FUNCTION likely_key_holders(key text)
RETURNS bigint LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    hashes CONSTANT bigint[] := ARRAY[hashtextextended(key, 0)];
    plan json;
BEGIN
    FOR plan IN
        EXPLAIN (FORMAT JSON)
        SELECT FROM customers WHERE customer_key_hashes(name, company, email, phone) @> hashes
    LOOP
        RETURN plan #>> '{0,Plan,Plan Rows}';
    END LOOP;
END;
$$;
