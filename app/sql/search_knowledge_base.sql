-- The settings make the plan certain: iterative scans fill the page under any filter, and the lower page cost
-- makes up for vectors that are stored out of line, where the planner does not count them.
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
LANGUAGE plpgsql STABLE
SET random_page_cost = 1.1
SET plan_cache_mode = force_custom_plan
SET jit = off
SET hnsw.iterative_scan = relaxed_order
SET hnsw.max_scan_tuples = 2147483647
SET hnsw.scan_mem_multiplier = 1000
SET hnsw.ef_search = 40
AS $$
BEGIN
    IF max_rows > 40 THEN
        PERFORM set_config('hnsw.ef_search', LEAST(max_rows, 1000)::text, true);
    END IF;
    RETURN QUERY
        SELECT nearest.id, nearest.title, nearest.content, nearest.category, nearest.source, nearest.model,
            1 - nearest.distance
        FROM (
            SELECT k.id, k.title, k.content, k.category, k.source,
                k.metadata #>> '{embedding,model}' AS model, k.embedding <=> query AS distance
            FROM knowledge_base k
            WHERE k.is_active AND k.embedding IS NOT NULL
                AND (only_category IS NULL OR k.category = only_category)
            ORDER BY k.embedding <=> query
            LIMIT max_rows
        ) AS nearest
        WHERE min_similarity IS NULL OR 1 - nearest.distance >= min_similarity
        ORDER BY nearest.distance, nearest.id;
END;
$$;
