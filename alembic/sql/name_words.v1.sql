-- The words of a name in alphabetical order, each as often as it stands there.
CREATE OR REPLACE FUNCTION name_words(name text)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT word FROM regexp_split_to_table(bare_text(name), '[[:space:][:punct:]]+') AS word
        WHERE word <> '' ORDER BY word
    );
END;
$$;
