-- The words of a question with those corrected that have a typing error: a word of at least four letters that
-- neither an article nor an object of the searched kind has becomes the one that is spelt most like it
-- (likely_words) in the objects that the conditions leave, if there is one. Of several, one with the same
-- first letter, and then the most common; none that the language takes for empty. At most four are looked at.
--
-- Some thirty likely words are asked for at a time: what is not in the index's tree yet is looked through once
-- for every question, and each object that has one of them is compared with every word of it.
--
-- All but the words and the question is SQL of search_words: "holders" finds the objects o that have w.query,
-- "document" and "spelled" are their words and their text.
--
-- Without index scans, so that the index of words is used: where much is expected to be found, another one
-- looks better for a LIMIT, and reads everything.
CREATE OR REPLACE FUNCTION meant_words(
    words text[],
    query_text text,
    base text,
    holders text,
    restriction text,
    document text,
    spelled text
)
RETURNS text[] LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET enable_indexscan = off
SET jit = off
AS $$
DECLARE
    everybody CONSTANT text := CASE base WHEN 'knowledge_base' THEN ' AND o.is_active' ELSE '' END;
    strange text;
    likely text[];
    meant text[];
BEGIN
    FOR strange, likely IN
        SELECT typed, likely_words(COALESCE((
            SELECT word FROM spelled_words(query_text) AS word
            WHERE tsvector_to_array(to_tsvector('crm', word)) = ARRAY[typed] LIMIT 1
        ), typed))
        FROM unnest(words) AS typed
        WHERE char_length(typed) BETWEEN 4 AND 64 AND typed !~ '[0-9]' AND NOT EXISTS (
            SELECT FROM knowledge_base o WHERE o.is_active
                AND text_words(left(o.title || ' ' || o.content, 50000)) @@ quote_literal(typed)::tsquery
        )
        LIMIT 4
    LOOP
        EXECUTE format($q$
            WITH own AS MATERIALIZED (SELECT quote_literal($1)::tsquery AS query),
            others AS MATERIALIZED (
                SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS query
                FROM unnest(tsvector_to_array(to_tsvector('crm', array_to_string($2, ' '))))
                    WITH ORDINALITY AS one (lexeme, place)
                GROUP BY place / 32
            )
            SELECT tsvector_to_array(to_tsvector('crm', word))
            FROM others AS w, LATERAL (%1$s LIMIT 20) AS h JOIN %2$I o USING (id),
                unnest(tsvector_to_array(%3$s) || ARRAY(SELECT spelled_words(%4$s))) AS word
            WHERE word = ANY ($2) AND to_tsvector('crm', word) <> ''
                AND NOT EXISTS (SELECT FROM own AS w, LATERAL (%5$s LIMIT 1) AS h)
            GROUP BY word ORDER BY left(word, 1) = left($1, 1) DESC, count(*) DESC, word LIMIT 1
        $q$, format(holders, restriction), base, document, spelled, format(holders, everybody))
        INTO meant USING strange, likely;
        IF meant IS NOT NULL THEN
            words := array_remove(words, strange) || meant;
        END IF;
    END LOOP;
    RETURN words;
END;
$$;
