-- Which words there are in articles, for questions with a typing error. A word stays when its last article goes:
-- it then finds nothing, as the word that was typed. Nobody waits for another writer of the same word: two rows
-- of it do no harm.
CREATE OR REPLACE FUNCTION keep_knowledge_words()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    INSERT INTO knowledge_words (word, trigrams)
    SELECT lexeme, word_trigrams(lexeme)
    FROM unnest(text_words(left(NEW.title || ' ' || NEW.content, 50000)))
    WHERE positions IS NOT NULL AND char_length(lexeme) BETWEEN 3 AND 64 AND lexeme !~ '[0-9]'
        AND NOT EXISTS (SELECT FROM knowledge_words k WHERE k.word = lexeme);
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION keep_knowledge_words() FROM PUBLIC;
