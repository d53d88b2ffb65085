-- What the index of an identifier's keys holds, as customer_key_hashes has it.
CREATE OR REPLACE FUNCTION identifier_key_hashes(type text, value text)
RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    address CONSTANT text := plain_address(type, value);
BEGIN
    RETURN ARRAY(SELECT hashtextextended(key, 0) FROM unnest(address_keys(address)) AS key);
END;
$$;
