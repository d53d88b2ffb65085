-- What stands for somebody's words in the chain. Once the salt is gone, nobody can try out what they were.
-- Without a search_path of its own, so that it is inlined: beside built-ins it names one of ours, by its schema.
CREATE OR REPLACE FUNCTION record_words_hash(salt uuid, changed_by text, words text[])
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        salt, CASE WHEN NOT public.is_plain_actor(changed_by) THEN changed_by END, words
    )::text, 'UTF8'))
$$;
