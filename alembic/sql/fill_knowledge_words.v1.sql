-- The words of all articles anew: after a change of the language, or of rows that no trigger has seen.
CREATE OR REPLACE FUNCTION fill_knowledge_words()
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM knowledge_words;
    INSERT INTO knowledge_words (word, trigrams)
    SELECT word, word_trigrams(word) FROM (
        SELECT lexeme AS word
        FROM knowledge_base, unnest(text_words(left(title || ' ' || content, 50000)))
        WHERE positions IS NOT NULL AND char_length(lexeme) BETWEEN 3 AND 64 AND lexeme !~ '[0-9]'
        UNION
        SELECT spelled_words(left(title || ' ' || content, 50000)) FROM knowledge_base
    ) AS words;
END;
$$;
