-- Every three neighbouring characters of a word with two spaces before and one behind it, in their order.
CREATE OR REPLACE FUNCTION word_trigrams(word text)
RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT array_agg(substr('  ' || word || ' ', place, 3) ORDER BY place)
    FROM generate_series(1, char_length(word) + 1) AS place
$$;
