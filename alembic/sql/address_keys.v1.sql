-- By what customers with this plain address are found, and how common its parts are: each key is its kind, a
-- space and a value. A number that is too short, or one digit again and again, is nobody's.
CREATE OR REPLACE FUNCTION address_keys(address text)
RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN address ~ '@' THEN pg_catalog.array_remove(ARRAY[
            'mailbox ' || address,
            'domain ' || pg_catalog."substring"(address, '[^@]*$'),
            'local ' || pg_catalog."substring"(
                pg_catalog.regexp_replace(address, '@.*$|[._-]', '', 'g'), '^.{4,}$')
        ], NULL)
        WHEN pg_catalog.length(address) > 6 AND address !~ '^(.)\1*$' THEN ARRAY['number ' || address]
        ELSE '{}'
    END
$$;
