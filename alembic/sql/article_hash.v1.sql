-- Of what an article is embedded from. The text is stored as UTF-8, so the conversion depends on no setting.
-- The cost lets the planner read the index of those without an embedding rather than hash one text.
CREATE OR REPLACE FUNCTION article_hash(title text, content text)
RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
    SELECT sha256(convert_to(title || E'\n' || content, 'UTF8'))
$$;
