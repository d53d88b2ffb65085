-- The articles nearest to a vector, for backends that write their own SQL; search_objects does the work.
CREATE OR REPLACE FUNCTION search_knowledge_base(
    query vector,
    max_rows integer,
    only_category text DEFAULT NULL,
    min_similarity double precision DEFAULT NULL
)
RETURNS TABLE (
    id uuid,
    title varchar,
    content text,
    category varchar,
    source varchar,
    model text,
    similarity double precision
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, k.title, k.content, k.category, k.source, k.metadata #>> '{embedding,model}', hit.similarity
    FROM search_objects('knowledge', query, NULL, max_rows,
        jsonb_strip_nulls(jsonb_build_object('category', only_category)), min_similarity) AS hit
    JOIN knowledge_base k ON k.id = hit.id
    ORDER BY hit.vector_rank;
END;
$$;
