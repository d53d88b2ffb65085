-- Facts beside a measurement that name the person, or something that the person wrote; the measurement stays.
CREATE OR REPLACE FUNCTION erase_metrics(ids uuid[], addresses text[])
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    counts jsonb;
BEGIN
    WITH measurements AS (
        UPDATE agent_metrics SET metadata = '{}'
        WHERE facts_name_customer(metadata, ids, addresses)
        RETURNING 1
    )
    SELECT jsonb_build_object('agent_metrics', (SELECT count(*) FROM measurements))
    INTO counts;
    RETURN counts;
END;
$$;
