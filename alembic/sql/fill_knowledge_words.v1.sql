-- The words of all articles anew: after a change of the language, or of rows that no trigger has seen.
CREATE OR REPLACE FUNCTION fill_knowledge_words()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM knowledge_words;
    INSERT INTO knowledge_words (word, trigrams)
    SELECT lexeme, word_trigrams(lexeme) FROM (
        SELECT DISTINCT word.lexeme
        FROM knowledge_base, unnest(text_words(left(title || ' ' || content, 50000))) AS word
        WHERE word.positions IS NOT NULL AND char_length(word.lexeme) BETWEEN 3 AND 64
            AND word.lexeme !~ '[0-9]'
    ) AS words;
END;
$$;
