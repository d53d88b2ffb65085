-- Facts beside a measurement that name the person, or something that the person wrote; the measurement stays.
-- A name of one word is in many a text, a full one is taken for the person's.
CREATE OR REPLACE FUNCTION erase_metrics(ids uuid[], addresses text[])
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    names text[] := ARRAY(
        SELECT name FROM customers WHERE id = ANY (ids) AND name ~ '[^ ] +[^ ]'
        UNION
        SELECT absorbed ->> 'name' FROM customer_merges
        WHERE absorbed_id = ANY (ids) AND absorbed ->> 'name' ~ '[^ ] +[^ ]'
    );
    counts jsonb;
BEGIN
    WITH measurements AS (
        UPDATE agent_metrics SET metadata = '{}'
        WHERE facts_name_customer(metadata, ids, addresses || names)
        RETURNING 1
    )
    SELECT jsonb_build_object('agent_metrics', (SELECT count(*) FROM measurements))
    INTO counts;
    RETURN counts;
END;
$$;
