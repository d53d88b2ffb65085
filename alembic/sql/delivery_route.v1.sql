-- The way out of a conversation: the route that was used last, on a channel that is switched on.
--
-- by_channel and by_account are what it is sent by: the answer to a form goes by mail from forms_from, if that
-- is given, and waits while either of the two is switched off. The few routes of a conversation are sorted, also
-- for a caller who may not (claim_outbox).
CREATE OR REPLACE FUNCTION delivery_route(of_conversation uuid, forms_from text)
RETURNS TABLE (
    channel text, account text, identifier_type text, identifier_value text, address text, group_id text,
    by_channel text, by_account text
)
LANGUAGE sql STABLE ROWS 1 SET search_path = pg_catalog, public, pg_temp SET enable_sort = on AS $$
    SELECT r.channel, r.account, r.identifier_type, r.identifier_value, r.address, r.group_id,
        CASE WHEN by_mail THEN 'email' ELSE r.channel END, CASE WHEN by_mail THEN forms_from ELSE r.account END
    FROM (
        SELECT route.*,
            route.channel = 'web_form' AND route.identifier_type = 'email' AND forms_from IS NOT NULL AS by_mail
        FROM conversation_routes AS route WHERE route.conversation_id = of_conversation
        ORDER BY route.used_at DESC, route.id DESC LIMIT 1
    ) AS r
    WHERE NOT EXISTS (
        SELECT FROM channel_configs AS config
        WHERE config.is_enabled IS FALSE
            AND (config.channel = r.channel OR config.channel = 'email' AND r.by_mail)
    )
$$;
