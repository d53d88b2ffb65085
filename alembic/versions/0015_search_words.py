"""Rank articles, messages and tickets by the words that they share with a text.

``search_words`` finds candidates by the indexes of 0013 and ranks them as BM25 does; ``search_conditions``
makes the WHERE clause of a search from its filters.

Locks: none; adds functions.
Reversible: yes.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

FUNCTIONS = [
    """
-- The WHERE clause of a search, from {"column": value}: codes and ids take one value or a list, times are
-- "created_at_from" (inclusive) and "created_at_before" (exclusive), and "not_id" leaves rows out. Values are
-- quoted, names are listed.
CREATE OR REPLACE FUNCTION search_conditions(object_type text, filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    codes text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['category', 'source']
        WHEN 'message' THEN ARRAY['channel', 'direction', 'role', 'content_type', 'delivery_status']
        WHEN 'ticket' THEN
            ARRAY['category', 'priority', 'status', 'source_channel', 'assigned_to', 'escalation_reason']
    END;
    ids text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['id'] ELSE ARRAY['id', 'customer_id', 'conversation_id']
    END;
    times text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['created_at', 'updated_at']
        WHEN 'message' THEN ARRAY['created_at']
        WHEN 'ticket' THEN ARRAY['created_at', 'updated_at', 'resolved_at']
    END;
    conditions text[];
    filter record;
    wanted text[];
    edge text;
BEGIN
    IF codes IS NULL THEN
        RAISE EXCEPTION 'there is nothing to search that is called %', object_type
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR filter IN SELECT key AS name, value FROM jsonb_each(filters) LOOP
        wanted := ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(filter.value)
            WHEN 'array' THEN filter.value ELSE jsonb_build_array(filter.value) END));
        edge := substring(filter.name FROM '_(from|before)$');
        IF filter.name = 'customer_id' AND filter.name = ANY (ids) THEN
            -- Somebody may still know the customer by the id of before a merge.
            conditions := conditions || format(
                'o.customer_id IN (SELECT COALESCE(r.customer_id, w.id) FROM unnest(%L::uuid[]) AS w(id)
                    LEFT JOIN customer_redirects r ON r.absorbed_id = w.id)', wanted);
        ELSIF filter.name = ANY (ids) THEN
            conditions := conditions || format('o.%I = ANY (%L::uuid[])', filter.name, wanted);
        ELSIF filter.name = ANY (codes) THEN
            conditions := conditions || format('o.%I = ANY (%L::text[])', filter.name, wanted);
        ELSIF edge IS NOT NULL AND regexp_replace(filter.name, '_(from|before)$', '') = ANY (times) THEN
            conditions := conditions || format('o.%I %s %L::timestamptz',
                regexp_replace(filter.name, '_(from|before)$', ''),
                CASE edge WHEN 'from' THEN '>=' ELSE '<' END, wanted[1]);
        ELSIF filter.name = 'not_id' THEN
            conditions := conditions || format('o.id <> ALL (%L::uuid[])', wanted);
        ELSE
            RAISE EXCEPTION 'a % cannot be searched by %', object_type, filter.name
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    RETURN COALESCE(array_to_string(conditions, ' AND '), '');
END;
$$
    """,
    r"""
-- The objects that share words with a text, ranked as BM25 does: a word weighs ln(1 + all objects / objects
-- that have it), more where it is repeated or in the title, less in a long text. The index of the words finds
-- the candidates by weight alone; only the best of them are read. A word that more than 5,000 rows have
-- (fewer, if there are more than eight words) is left out where there is a rarer one, but objects that have
-- all words are always among the candidates. "coverage" is the part of the weight of all words that an object
-- has; a word that nobody has (a typing error, another language) counts as the rarest.
-- "conditions" is SQL of search_conditions, and nothing that came from outside.
CREATE OR REPLACE FUNCTION search_words(
    object_type text,
    words text[],
    max_rows integer,
    conditions text
)
RETURNS TABLE (id uuid, score double precision, coverage double precision)
LANGUAGE plpgsql STABLE ROWS 50
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    common CONSTANT integer := LEAST(5000, 100 + 40000 / GREATEST(cardinality(words), 1));
    base CONSTANT text := CASE object_type WHEN 'knowledge' THEN 'knowledge_base' ELSE object_type || 's' END;
    restriction CONSTANT text := CASE WHEN conditions <> '' THEN ' AND ' || conditions ELSE '' END;
    indexed CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN $q$o.title || ' ' || o.content$q$
        WHEN 'message' THEN 'o.content'
        ELSE $q$o.subject || ' ' || COALESCE(o.resolution_notes, '')$q$
    END;
    document CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN
            $q$setweight(to_tsvector('crm', o.title), 'A') || to_tsvector('crm', left(o.content, 50000))$q$
        WHEN 'message' THEN $q$to_tsvector('crm', left(o.content, 50000))$q$
        ELSE $q$setweight(to_tsvector('crm', o.subject), 'A') || to_tsvector('crm', ticket_text(o.id))$q$
    END;
    holders text := 'SELECT o.id FROM ' || base || $q$ o WHERE to_tsvector('crm', left($q$ || indexed
        || ', 50000)) @@ w.query' || restriction;
    rows_of_all double precision := (SELECT reltuples FROM pg_class WHERE oid = base::regclass);
BEGIN
    IF rows_of_all <= 0 THEN
        -- Never analysed, so young and small.
        EXECUTE 'SELECT count(*) FROM ' || base INTO rows_of_all;
    END IF;
    IF object_type = 'ticket' THEN
        -- A ticket is also what was said first in its conversation. ALL, so that LIMIT ends it.
        holders := holders || $q$ UNION ALL SELECT o.id FROM messages m JOIN tickets o USING (conversation_id)
            WHERE to_tsvector('crm', left(m.content, 50000)) @@ w.query
                AND NOT EXISTS (
                    SELECT FROM messages b WHERE b.conversation_id = m.conversation_id
                        AND (b.created_at, b.id) < (m.created_at, m.id) OFFSET 2
                )$q$ || restriction;
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH wanted AS MATERIALIZED (
            SELECT word, ('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''')::tsquery AS query
            FROM unnest($1) AS word
        ), one_word AS MATERIALIZED (
            SELECT w.word, h.id FROM wanted w, LATERAL (%1$s LIMIT $4 + 1) AS h
        ), all_words AS MATERIALIZED (
            SELECT h.id FROM (SELECT string_agg(query::text, ' & ')::tsquery AS query FROM wanted) AS w,
                LATERAL (%1$s LIMIT $4) AS h
        ), found AS MATERIALIZED (
            SELECT word, id FROM one_word UNION SELECT w.word, a.id FROM wanted w, all_words a
        ), rarity AS MATERIALIZED (
            SELECT word, ln(1 + GREATEST($3, holders) / holders) AS weight, is_rare FROM (
                SELECT word, count(DISTINCT id) AS holders, count(*) <= $4 AS is_rare
                FROM one_word GROUP BY word
            ) AS counted
        ), telling AS MATERIALIZED (
            SELECT word, weight FROM rarity WHERE is_rare OR NOT EXISTS (SELECT FROM rarity WHERE is_rare)
        ), candidates AS MATERIALIZED (
            SELECT f.id, sum(t.weight) AS weight FROM found f JOIN telling t USING (word)
            GROUP BY f.id ORDER BY weight DESC, f.id LIMIT GREATEST($2, 50)
        ), documents AS MATERIALIZED (
            SELECT o.id, %2$s AS words FROM candidates c JOIN %3$I o ON o.id = c.id
        ), lengths AS MATERIALIZED (
            SELECT d.id, 0.25 + 0.75 * length(d.words) / NULLIF(avg(length(d.words)) OVER (), 0) AS relative
            FROM documents d
        )
        SELECT d.id, sum(t.weight * 2.2 * u.times / (u.times + 1.2 * l.relative)), sum(t.weight) / (
            SELECT sum(COALESCE(r.weight, ln(1 + GREATEST($3, 1) / 0.5)))
            FROM wanted LEFT JOIN rarity r USING (word)
            WHERE r.word IS NULL OR r.word IN (SELECT word FROM telling)
        )
        FROM documents d JOIN lengths l USING (id), LATERAL (
            SELECT lexeme, (SELECT sum(CASE w WHEN 'A' THEN 3 ELSE 1 END) FROM unnest(weights) AS w) AS times
            FROM unnest(d.words)
        ) AS u JOIN telling t ON t.word = u.lexeme
        GROUP BY d.id ORDER BY 2 DESC, d.id LIMIT $2
    $q$, holders, document, base)
    USING words, max_rows, rows_of_all, common;
END;
$$
    """,
]


def upgrade() -> None:
    for statement in FUNCTIONS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION search_words(text, text[], integer, text)")
    op.execute("DROP FUNCTION search_conditions(text, jsonb)")
