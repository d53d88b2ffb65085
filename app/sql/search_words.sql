-- The objects that share words with a text, those with the rarest words first: a word weighs
-- ln(1 + all objects / objects that have it). Only the index of the words is read. A word that more than
-- 5,000 objects have tells nothing, and is left out where there is a rarer one.
CREATE OR REPLACE FUNCTION search_words(
    object_type text,
    words text[],
    max_rows integer,
    conditions text
)
RETURNS TABLE (id uuid, score double precision)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    common CONSTANT integer := 5000;
    holders text := CASE object_type
        WHEN 'knowledge' THEN
            $q$SELECT o.id FROM knowledge_base o
            WHERE to_tsvector('crm', left(o.title || ' ' || o.content, 50000)) @@ w.query$q$
        WHEN 'message' THEN
            $q$SELECT o.id FROM messages o WHERE to_tsvector('crm', left(o.content, 50000)) @@ w.query$q$
        WHEN 'ticket' THEN
            $q$SELECT o.id FROM tickets o WHERE to_tsvector('crm',
                left(o.subject || ' ' || COALESCE(o.resolution_notes, ''), 50000)) @@ w.query$q$
    END || CASE WHEN conditions <> '' THEN ' AND ' || conditions ELSE '' END;
BEGIN
    IF object_type = 'ticket' THEN
        -- A ticket is also what was said first in its conversation.
        holders := holders || $q$ UNION SELECT o.id FROM messages m JOIN tickets o USING (conversation_id)
            WHERE to_tsvector('crm', left(m.content, 50000)) @@ w.query
                AND (SELECT count(*) FROM (
                    SELECT FROM messages b WHERE b.conversation_id = m.conversation_id
                        AND (b.created_at, b.id) < (m.created_at, m.id) LIMIT 3
                ) AS before) < 3$q$ || CASE WHEN conditions <> '' THEN ' AND ' || conditions ELSE '' END;
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH wanted AS MATERIALIZED (
            SELECT word, ('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''')::tsquery AS query
            FROM unnest($1) AS word
        ), found AS MATERIALIZED (
            SELECT w.word, h.id FROM wanted w, LATERAL (%s LIMIT %s + 1) AS h
        ), rarity AS MATERIALIZED (
            SELECT word, count(*) AS holders, ln(1 + $3 / count(*)) AS weight FROM found GROUP BY word
        )
        SELECT f.id, sum(r.weight) FROM found f JOIN rarity r USING (word)
        WHERE r.holders <= %2$s OR (SELECT min(holders) FROM rarity) > %2$s
        GROUP BY f.id ORDER BY sum(r.weight) DESC, f.id LIMIT $2
    $q$, holders, common)
    USING words, max_rows, GREATEST(1, (
        SELECT reltuples FROM pg_class WHERE oid = CASE object_type
            WHEN 'knowledge' THEN 'knowledge_base' WHEN 'message' THEN 'messages' ELSE 'tickets' END::regclass
    ))::double precision;
END;
$$;
