-- The words of which one typing error makes this one: a letter that is wrong, missing or too much, or two
-- that changed places. Letters are those that Unicode has beside the word's own, and for Latin ones those with
-- accents. A word that differs by an accent alone is none: whether accents count is a matter of the language.
CREATE OR REPLACE FUNCTION likely_words(word text)
RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH letters AS (
        SELECT chr(code) AS letter, left(normalize(chr(code), NFD), 1) AS base
        FROM (
            SELECT ascii(one) / 64 AS block FROM unnest(string_to_array(word, NULL)) AS one
            UNION SELECT 3 WHERE word ~ '[a-z]'
        ) AS blocks, generate_series(64 * block, 64 * block + 63) AS code
        WHERE code BETWEEN 97 AND 122 OR code > 223
    ), places AS (
        SELECT left(word, place) AS before, substr(word, place + 1) AS after,
            place < char_length(word) AS inside
        FROM generate_series(0, char_length(word)) AS place
    )
    SELECT array_agg(before || changed) FROM (
        SELECT before, substr(after, 2) AS changed FROM places WHERE inside
        UNION ALL SELECT before, reverse(left(after, 2)) || substr(after, 3) FROM places
        UNION ALL SELECT before, letter || after FROM places, letters
        UNION ALL SELECT before, letter || substr(after, 2) FROM places, letters
        WHERE inside AND base <> left(normalize(left(after, 1), NFD), 1)
    ) AS likely
$$;
