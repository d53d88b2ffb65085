-- The WHERE clause of a search, from {"column": value}: codes and ids take one value or a list, times and
-- numbers are "created_at_from" (inclusive) and "created_at_before" (exclusive), "metadata" is an object that
-- the row's own contains, and "not_id" leaves rows out. Names that people give are compared as one spelling
-- (folded_text). Values are quoted, names are listed.
CREATE OR REPLACE FUNCTION search_conditions(object_type text, filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    codes text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['category']
        WHEN 'message' THEN ARRAY['channel', 'direction', 'role', 'content_type', 'delivery_status']
        WHEN 'ticket' THEN
            ARRAY['category', 'priority', 'status', 'source_channel']
    END;
    names text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['source']
        WHEN 'ticket' THEN ARRAY['ticket_number', 'assigned_to', 'escalation_reason']
    END;
    ids text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['id'] ELSE ARRAY['id', 'customer_id', 'conversation_id']
    END;
    ranges text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['created_at', 'updated_at']
        WHEN 'message' THEN ARRAY['created_at', 'processing_latency_ms']
        WHEN 'ticket' THEN ARRAY['created_at', 'updated_at', 'resolved_at']
    END;
    conditions text[];
    filter record;
    wanted text[];
    edge text;
BEGIN
    IF codes IS NULL THEN
        RAISE EXCEPTION 'there is nothing to search that is called %', object_type
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR filter IN SELECT key AS name, value FROM jsonb_each(filters) LOOP
        wanted := ARRAY(SELECT jsonb_array_elements_text(CASE jsonb_typeof(filter.value)
            WHEN 'array' THEN filter.value ELSE jsonb_build_array(filter.value) END));
        edge := substring(filter.name FROM '_(from|before)$');
        IF filter.name = 'customer_id' AND filter.name = ANY (ids) THEN
            -- Somebody may still know the customer by the id of before a merge.
            conditions := conditions || format(
                'o.customer_id IN (SELECT COALESCE(r.customer_id, w.id) FROM unnest(%L::uuid[]) AS w(id)
                    LEFT JOIN customer_redirects r ON r.absorbed_id = w.id)', wanted);
        ELSIF filter.name = ANY (ids) THEN
            conditions := conditions || format('o.%I = ANY (%L::uuid[])', filter.name, wanted);
        ELSIF filter.name = ANY (codes) THEN
            conditions := conditions || format('o.%I = ANY (%L::text[])', filter.name, wanted);
        ELSIF filter.name = ANY (names) THEN
            conditions := conditions || format('folded_text(o.%I) = ANY (%L::text[])', filter.name,
                ARRAY(SELECT folded_text(name) FROM unnest(wanted) AS name));
        ELSIF edge IS NOT NULL AND regexp_replace(filter.name, '_(from|before)$', '') = ANY (ranges) THEN
            conditions := conditions || format('o.%I %s %L',
                regexp_replace(filter.name, '_(from|before)$', ''),
                CASE edge WHEN 'from' THEN '>=' ELSE '<' END, wanted[1]);
        ELSIF filter.name = 'metadata' THEN
            conditions := conditions || format('COALESCE(o.metadata, ''{}'') @> %L', filter.value);
        ELSIF filter.name = 'not_id' THEN
            conditions := conditions || format('o.id <> ALL (%L::uuid[])', wanted);
        ELSE
            RAISE EXCEPTION 'a % cannot be searched by %', object_type, filter.name
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    RETURN COALESCE(array_to_string(conditions, ' AND '), '');
END;
$$;
