-- Until when free text may be written: 24 hours after the customer wrote. A provider counts between two numbers,
-- whatever conversations we keep of them, so on WhatsApp all of the route that was used last count.
CREATE OR REPLACE FUNCTION window_end(of_conversation uuid)
RETURNS timestamptz LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp SET enable_sort = on AS $$
    SELECT max(latest.created_at) + interval '24 hours'
    FROM (
        SELECT of_conversation AS conversation_id
        UNION
        SELECT other.conversation_id
        FROM (
            SELECT * FROM conversation_routes WHERE conversation_id = of_conversation
            ORDER BY used_at DESC, id DESC LIMIT 1
        ) AS route
        JOIN conversation_routes AS other USING (channel, account, identifier_type, identifier_value)
        WHERE route.channel = 'whatsapp' AND other.group_id IS NOT DISTINCT FROM route.group_id
    ) AS between_us
    CROSS JOIN LATERAL (
        SELECT i.created_at FROM messages AS i
        WHERE i.conversation_id = between_us.conversation_id AND i.direction = 'inbound'
            AND i.created_at IS NOT NULL AND NOT COALESCE(i.metadata ? 'event', false)
        ORDER BY i.created_at DESC LIMIT 1
    ) AS latest
$$;
