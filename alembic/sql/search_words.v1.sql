-- The objects that share words with a text, ranked as BM25 does: a word weighs ln(1 + all objects / objects
-- that have it), more where it is repeated or in the title, less in a long text. The index of the words finds
-- the candidates by weight alone; only the best of them are read. A word that more than 5,000 rows have
-- (fewer, if there are more than eight words) is left out where there is a rarer one, but objects that have
-- all words are always among the candidates. "coverage" is the part of the weight of all words that an object
-- has; a word that nobody has (a typing error, another language) counts as the rarest.
-- What has a typing error is read as what was meant (meant_words). What a code is without or with its signs
-- counts only where somebody has it: its parts are there anyway.
-- "also" are objects that are weighed whether they share a word or not. "conditions" is SQL of
-- search_conditions, and nothing that came from outside.
--
-- "score" is what an object has of all that could be had: 1 were each word repeated without end. So it means
-- the same for every query. Words that the language takes for empty ("how", "my") are in no index and find
-- nothing, but tell short texts apart: each weighs as much as a word that one object in six has, and far less
-- among texts of more than a dozen words, which have most of them anyway.
CREATE OR REPLACE FUNCTION search_words(
    object_type text,
    query_text text,
    max_rows integer,
    conditions text,
    also uuid[] DEFAULT '{}'
)
RETURNS TABLE (id uuid, score double precision, coverage double precision)
LANGUAGE plpgsql STABLE ROWS 50
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    words text[];
    forms text[];
    empty_words CONSTANT text[] := ARRAY(
        SELECT word FROM unnest(tsvector_to_array(to_tsvector('simple', left(query_text, 1000)))) AS word
        WHERE to_tsvector('crm', word) = ''
    );
    common integer;
    base CONSTANT text := CASE object_type WHEN 'knowledge' THEN 'knowledge_base' ELSE object_type || 's' END;
    restriction CONSTANT text := CASE WHEN conditions <> '' THEN ' AND ' || conditions ELSE '' END;
    indexed CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN $q$o.title || ' ' || o.content$q$
        WHEN 'message' THEN 'o.content'
        ELSE $q$o.subject || ' ' || COALESCE(o.resolution_notes, '')$q$
    END;
    document CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN
            $q$setweight(text_words(o.title), 'A') || text_words(left(o.content, 50000))$q$
        WHEN 'message' THEN 'text_words(left(o.content, 50000))'
        ELSE $q$setweight(text_words(o.subject), 'A') || text_words(ticket_text(o.id))$q$
    END;
    spelled CONSTANT text := 'left(' || CASE object_type
        WHEN 'ticket' THEN 'ticket_text(o.id)' ELSE indexed
    END || ', 50000)';
    beginning CONSTANT text := 'to_tsvector(''simple'', left(' || indexed || ', 2000))';
    holders text := 'SELECT o.id FROM ' || base || ' o WHERE text_words(left(' || indexed
        || ', 50000)) @@ w.query%1$s';
    rows_of_all double precision := (SELECT reltuples FROM pg_class WHERE oid = base::regclass);
BEGIN
    SELECT COALESCE(array_agg(lexeme) FILTER (WHERE positions IS NOT NULL), '{}'),
        COALESCE(array_agg(lexeme) FILTER (WHERE positions IS NULL), '{}')
    INTO words, forms FROM unnest(text_words(left(query_text, 10000)));
    common := LEAST(5000, 100 + 40000 / GREATEST(cardinality(words) + cardinality(forms), 1));
    IF rows_of_all <= 0 THEN
        -- Never analysed, so young and small.
        EXECUTE 'SELECT count(*) FROM ' || base INTO rows_of_all;
    END IF;
    IF object_type = 'ticket' THEN
        -- A ticket is also what was said first in its conversation. ALL, so that LIMIT ends it.
        holders := holders || $q$ UNION ALL SELECT o.id FROM messages m JOIN tickets o USING (conversation_id)
            WHERE text_words(left(m.content, 50000)) @@ w.query
                AND NOT EXISTS (
                    SELECT FROM messages b WHERE b.conversation_id = m.conversation_id
                        AND (b.created_at, b.id) < (m.created_at, m.id) OFFSET 2
                )%1$s$q$;
    END IF;
    words := meant_words(words, left(query_text, 10000), base, holders, restriction, document, spelled);
    RETURN QUERY EXECUTE format($q$
        WITH wanted AS MATERIALIZED (
            SELECT word, ('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''')::tsquery AS query,
                is_part
            FROM (
                SELECT DISTINCT unnest($1) AS word, true AS is_part UNION ALL SELECT unnest($7), false
            ) AS words
        ), one_word AS MATERIALIZED (
            SELECT w.word, h.id FROM wanted w, LATERAL (%1$s LIMIT $4 + 1) AS h
        ), all_words AS MATERIALIZED (
            SELECT h.id FROM (SELECT string_agg(query::text, ' & ')::tsquery AS query FROM wanted WHERE is_part)
                AS w, LATERAL (%1$s LIMIT $4) AS h
        ), found AS MATERIALIZED (
            SELECT word, id FROM one_word UNION SELECT w.word, a.id FROM wanted w, all_words a WHERE is_part
        ), rarity AS MATERIALIZED (
            SELECT word, ln(1 + GREATEST($3, holders) / holders) AS weight, is_rare FROM (
                SELECT word, count(DISTINCT id) AS holders, count(*) <= $4 AS is_rare
                FROM one_word GROUP BY word
            ) AS counted
        ), telling AS MATERIALIZED (
            SELECT word, weight FROM rarity WHERE is_rare OR NOT EXISTS (SELECT FROM rarity WHERE is_rare)
        ), best AS MATERIALIZED (
            SELECT f.id, sum(t.weight) AS weight FROM found f JOIN telling t USING (word)
            GROUP BY f.id ORDER BY weight DESC, f.id LIMIT GREATEST($2, 50)
        ), documents AS MATERIALIZED (
            SELECT o.id, %2$s AS words, CASE WHEN $6 <> '{}' THEN (
                SELECT count(*) FROM unnest(tsvector_to_array(%4$s)) AS word WHERE word = ANY ($6)
            ) ELSE 0 END AS empty_words
            FROM (SELECT id FROM best UNION SELECT unnest($5)) c JOIN %3$I o ON o.id = c.id
        ), lengths AS MATERIALIZED (
            SELECT d.id, 0.25 + 0.75 * COALESCE(length(d.words) / NULLIF(avg(length(d.words)) OVER (), 0), 1)
                AS relative, 2 * LEAST(1, (12 / NULLIF(avg(length(d.words)) OVER (), 0)) ^ 3) AS empty_weight
            FROM documents d
        ), total AS MATERIALIZED (
            SELECT COALESCE(sum(COALESCE(r.weight, ln(1 + GREATEST($3, 1) / 0.5))), 0) AS weight
            FROM wanted LEFT JOIN rarity r USING (word)
            WHERE r.word IS NULL AND is_part OR r.word IN (SELECT word FROM telling)
        )
        SELECT d.id,
            (COALESCE(shared.score, 0) + l.empty_weight * d.empty_words)
                / NULLIF((SELECT weight FROM total) + l.empty_weight * cardinality($6), 0),
            COALESCE(shared.weight, 0) / NULLIF((SELECT weight FROM total), 0)
        FROM documents d JOIN lengths l USING (id), LATERAL (
            SELECT sum(t.weight * u.times / (u.times + 1.2 * l.relative)) AS score, sum(t.weight) AS weight
            FROM (
                SELECT lexeme, (SELECT sum(CASE w WHEN 'A' THEN 3 ELSE 1 END)
                    FROM unnest(COALESCE(weights, '{D}')) AS w) AS times
                FROM unnest(d.words)
            ) AS u JOIN telling t ON t.word = u.lexeme
        ) AS shared
        ORDER BY 2 DESC NULLS LAST, d.id
    $q$, format(holders, restriction), document, base, beginning)
    USING words, max_rows, rows_of_all, common, also, empty_words, forms;
END;
$$;
