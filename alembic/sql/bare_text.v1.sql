-- A text without case, accents, joiners and emoji. Letter case of other scripts than the Latin one is folded only
-- as far as the database's locale knows it.
CREATE OR REPLACE FUNCTION bare_text(source text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.lower(pg_catalog.regexp_replace(normalize(source, NFKD),
        '[\u0300-\u036f\u200d\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]', '', 'g'))
$$;
