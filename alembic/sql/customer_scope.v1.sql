-- What belongs to one person: the customer and those absorbed, their addresses, conversations, messages, tickets.
CREATE OR REPLACE FUNCTION customer_scope(living uuid)
RETURNS TABLE (
    customer_ids uuid[], types text[], addresses text[],
    conversation_ids uuid[], message_ids uuid[], ticket_ids uuid[]
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    customer_ids := living || ARRAY(SELECT absorbed_id FROM customer_redirects WHERE customer_id = living);
    SELECT COALESCE(array_agg(a.type), '{}'), COALESCE(array_agg(a.value), '{}') INTO types, addresses
    FROM customer_addresses(customer_ids) AS a;
    -- Of others' conversations, those that came in by nothing but this person's addresses: they were written
    -- while two people were merged who were not one.
    conversation_ids := ARRAY(
        SELECT id FROM conversations WHERE customer_id = living
        UNION
        SELECT route.conversation_id FROM conversation_routes AS route
        JOIN unnest(types, addresses) AS own (type, value)
            ON own.type = route.identifier_type AND own.value = route.identifier_value
        WHERE NOT EXISTS (
            SELECT FROM conversation_routes AS other
            WHERE other.conversation_id = route.conversation_id
                AND (other.identifier_type, other.identifier_value) NOT IN (
                    SELECT * FROM unnest(types, addresses)
                )
        )
    );
    -- What somebody else wrote into a conversation of this person is somebody else's.
    message_ids := ARRAY(
        SELECT id FROM messages WHERE customer_id = living
        UNION
        SELECT m.id FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
        WHERE c.id = ANY (conversation_ids)
            AND (c.customer_id <> living OR m.direction = 'outbound' OR m.role <> 'customer')
    );
    ticket_ids := ARRAY(
        SELECT id FROM tickets WHERE customer_id = living OR conversation_id = ANY (conversation_ids)
    );
    RETURN NEXT;
END;
$$;
