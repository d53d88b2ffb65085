-- What the index of a customer's keys holds: hashes, since a key may be longer than an entry of an index.
CREATE OR REPLACE FUNCTION customer_key_hashes(name text, company text, email text, phone text)
RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    mailbox CONSTANT text := plain_address('email', email);
    number CONSTANT text := plain_address('phone', phone);
    person CONSTANT text[] := CASE WHEN name IS NULL AND company IS NULL THEN '{}'
        ELSE person_keys(name_words(name), plain_company(company)) END;
BEGIN
    RETURN ARRAY(
        SELECT hashtextextended(key, 0)
        FROM unnest(person || address_keys(mailbox) || address_keys(number)) AS key
    );
END;
$$;
