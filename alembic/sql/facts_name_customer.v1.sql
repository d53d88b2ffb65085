-- Whether facts that somebody kept beside a measurement name a person, or something that the person wrote.
CREATE OR REPLACE FUNCTION facts_name_customer(facts jsonb, ids uuid[], addresses text[])
RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN facts <> '{}' AND (names_anybody(facts::text, '{}', addresses) OR EXISTS (
        SELECT FROM regexp_matches(
            lower(facts::text), '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'g'
        ) AS named (id)
        WHERE named.id[1]::uuid = ANY (ids)
    ));
END;
$$;
