-- A company's name as companies are compared by: without its legal form, spaces and signs; NULL if nothing is left.
CREATE OR REPLACE FUNCTION plain_company(company text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NULLIF(pg_catalog.regexp_replace(pg_catalog.regexp_replace(public.bare_text(company),
        '([[:space:],]+(ag|bv|co|corp|gmbh|inc|limited|llc|llp|ltd|ltda|plc|pvt|s\.?a|s\.?l|s\.?r\.?l)\.?)+$', ''),
        '[[:space:][:punct:]]+', '', 'g'), '')
$$;
