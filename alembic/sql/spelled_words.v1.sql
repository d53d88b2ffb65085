-- The words of a text as they are spelled, where text_words has their stems: a typing error in an ending has a
-- stem of its own. Scripts of three bytes a character have no endings that are cut off, or no spaces.
CREATE OR REPLACE FUNCTION spelled_words(source text)
RETURNS SETOF text LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT lexeme
    FROM unnest(to_tsvector('simple', regexp_replace(folded_text(source), '[-_.@/+:#&=,\\<>]', ' ', 'g')))
    WHERE char_length(lexeme) BETWEEN 3 AND 64 AND lexeme !~ '[0-9]'
        AND octet_length(lexeme) < 3 * char_length(lexeme)
$$;
