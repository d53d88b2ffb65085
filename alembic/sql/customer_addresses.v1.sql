-- Every address that a customer, or one of those absorbed, has or had by our records, but for those that somebody
-- else holds by now: in canonical form, and as the provider spelled it.
CREATE OR REPLACE FUNCTION customer_addresses(customer_ids uuid[])
RETURNS TABLE (type text, value text)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH profiles AS (
        SELECT email, phone FROM customers WHERE id = ANY (customer_ids)
        UNION
        SELECT absorbed ->> 'email', absorbed ->> 'phone' FROM customer_merges
        WHERE absorbed_id = ANY (customer_ids)
    ), addresses AS (
        SELECT identifier_type AS type, identifier_value AS value, NULL AS spelling FROM customer_identifiers
        WHERE customer_id = ANY (customer_ids)
        UNION
        SELECT route.identifier_type, route.identifier_value,
            lower(regexp_replace(route.address, '^whatsapp:', ''))
        FROM conversation_routes AS route
        JOIN conversations ON conversations.id = route.conversation_id
        WHERE conversations.customer_id = ANY (customer_ids)
        UNION SELECT 'email', lower(email), NULL FROM profiles WHERE email NOT LIKE '%@placeholder.invalid'
        UNION SELECT 'phone', phone, NULL FROM profiles WHERE phone IS NOT NULL
    )
    SELECT kind.type, written.value
    FROM addresses AS a CROSS JOIN LATERAL (VALUES (a.value), (a.spelling)) AS written (value)
    -- A number is one address, as a phone and as a WhatsApp id.
    JOIN (VALUES ('email', 'email'), ('phone', 'phone'), ('phone', 'whatsapp'),
        ('whatsapp', 'whatsapp'), ('whatsapp', 'phone')) AS kind (stored, type) ON kind.stored = a.type
    WHERE written.value IS NOT NULL AND NOT EXISTS (
        SELECT FROM customer_identifiers AS held
        WHERE held.identifier_value = a.value AND held.identifier_type = kind.type
            AND held.customer_id <> ALL (customer_ids)
    )
    GROUP BY kind.type, written.value
$$;
