-- The word of the articles from which one typing error makes this one, or NULL: a letter that is wrong, missing
-- or too much, or two that changed places. That touches at most four trigrams in a row, so the index is asked
-- for the words that have all the others, for every place where the error can be. It must be one that an article
-- has, and not one that the language takes for empty.
CREATE OR REPLACE FUNCTION nearest_word(strange text)
RETURNS text LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    own CONSTANT text[] := word_trigrams(strange);
BEGIN
    RETURN (
        SELECT k.word
        FROM generate_series(1, cardinality(own) - 3) AS place, knowledge_words AS k
        WHERE k.trigrams @> (own[:place - 1] || own[place + 4:])
            AND EXISTS (
                SELECT FROM generate_series(0, char_length(strange)) AS before
                WHERE left(k.word, before) = left(strange, before) AND (
                    substr(k.word, before + 2) IN (substr(strange, before + 2), substr(strange, before + 1))
                    OR substr(k.word, before + 1) = substr(strange, before + 2)
                    OR substr(k.word, before + 3) = substr(strange, before + 3)
                        AND substr(k.word, before + 1, 2) = reverse(substr(strange, before + 1, 2))
                )
            )
            AND EXISTS (
                SELECT FROM knowledge_base o
                WHERE o.is_active AND text_words(left(o.title || ' ' || o.content, 50000)) @@ (
                    SELECT string_agg(quote_literal(lexeme), ' & ')::tsquery
                    FROM unnest(to_tsvector('crm', k.word))
                )
            )
        ORDER BY left(k.word, 1) = left(strange, 1) DESC, k.word
        LIMIT 1
    );
END;
$$;
