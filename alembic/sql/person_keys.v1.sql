-- The keys of a name's words and a plain company, like those of address_keys. A name of one word finds nobody, but
-- is counted.
CREATE OR REPLACE FUNCTION person_keys(words text[], company text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN array_remove(ARRAY['company ' || company], NULL)
        || ARRAY(SELECT DISTINCT 'word ' || word FROM unnest(words) AS word)
        || CASE cardinality(words)
            WHEN 0 THEN '{}'
            WHEN 1 THEN ARRAY['single ' || words[1]]
            ELSE ARRAY['name ' || array_to_string(words, ' ')]
        END;
END;
$$;
