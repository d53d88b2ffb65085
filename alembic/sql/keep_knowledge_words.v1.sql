-- Which words there are in articles, as stems and as they are spelled, for questions with a typing error. A word
-- stays when its last article goes; nearest_word then passes it over. Nobody waits for another writer of the same word: two rows
-- of it do no harm.
CREATE OR REPLACE FUNCTION keep_knowledge_words()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    INSERT INTO knowledge_words (word, trigrams)
    SELECT word, word_trigrams(word) FROM (
        SELECT lexeme AS word FROM unnest(text_words(left(NEW.title || ' ' || NEW.content, 50000)))
        WHERE positions IS NOT NULL AND char_length(lexeme) BETWEEN 3 AND 64 AND lexeme !~ '[0-9]'
        UNION
        SELECT spelled_words(left(NEW.title || ' ' || NEW.content, 50000))
    ) AS words
    WHERE NOT EXISTS (SELECT FROM knowledge_words k WHERE k.word = words.word);
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION keep_knowledge_words() FROM PUBLIC;
