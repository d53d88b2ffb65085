-- The customer who holds an address, verified or claimed, in any spelling that canonical_identifier reads; else as
-- it was written. A row of customer_identifiers counts before a profile, a proof before a claim, then the oldest.
CREATE OR REPLACE FUNCTION find_customer(type text, value text)
RETURNS SETOF customers LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    address text := COALESCE(canonical_identifier(type, value), btrim(value));
    types text[] := CASE WHEN type <> 'email' AND address ~ '^\+' THEN ARRAY['phone', 'whatsapp'] ELSE ARRAY[type] END;
    key text := CASE
        WHEN type = 'email' THEN regexp_replace(
            regexp_replace(address, 'xn--(?:([^.@]*)-)?[^.@-]*', '\1', 'g'), '[^a-z0-9.@-]', '', 'g'
        )
        ELSE ltrim(right(address, 6), '+')
    END;
BEGIN
    RETURN QUERY
    SELECT c.* FROM identity_matches(
        array_fill(1, ARRAY[cardinality(types)]), types,
        array_fill(address, ARRAY[cardinality(types)]), array_fill(key, ARRAY[cardinality(types)])
    ) AS held
    JOIN customers AS c ON c.id = held.customer_id
    WHERE NOT held.diverted AND (
        held.identifier_id IS NOT NULL
        OR canonical_identifier('email', c.email) = address
        OR canonical_identifier('phone', c.phone) = address
    )
    ORDER BY held.identifier_id IS NULL, held.verified DESC, held.held_since, c.id
    LIMIT 1;
END;
$$;
