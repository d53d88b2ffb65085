-- What a ticket is embedded from: its subject, what is new in the first three messages of its conversation, and
-- how it was solved.
CREATE OR REPLACE FUNCTION ticket_text(ticket_id uuid)
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT left(concat_ws(E'\n', t.subject, (
        SELECT string_agg(left(COALESCE(m.metadata ->> 'new_text', m.content), 2000), E'\n' ORDER BY m.created_at, m.id)
        FROM (
            SELECT * FROM messages WHERE conversation_id = t.conversation_id ORDER BY created_at, id LIMIT 3
        ) AS m
    ), t.resolution_notes), 8000)
    FROM tickets t WHERE t.id = ticket_id
$$;
