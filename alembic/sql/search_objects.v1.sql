-- Loads the extension: who is no superuser may only set parameters that the server knows.
SELECT '[1]'::vector;

-- Articles ('knowledge'), messages or tickets that are like a vector, share words with a text, or both: then
-- the score is the weighted mean of the similarity and the words' score, whichever side has found the object.
-- Always min(max_rows, matching) rows.
--
-- "confidence" is the score, of the first the mean of its own and the next one's: one object alone may be like
-- anything by chance, and two seldom are.
--
-- The settings make the plan certain. Without sorting as an alternative the index of the vectors is used,
-- whatever the planner thinks of vectors that are stored out of line; iterative scans fill the page under any
-- filter; and where a filter leaves few rows, those are compared one by one, which is exact.
CREATE OR REPLACE FUNCTION search_objects(
    object_type text,
    query vector DEFAULT NULL,
    query_text text DEFAULT NULL,
    max_rows integer DEFAULT 5,
    filters jsonb DEFAULT '{}',
    min_similarity double precision DEFAULT NULL,
    query_model text DEFAULT NULL,
    vector_weight double precision DEFAULT 0.7,
    text_weight double precision DEFAULT 0.3,
    query_dimensions integer DEFAULT NULL
)
RETURNS TABLE (
    id uuid,
    similarity double precision,
    score double precision,
    vector_rank bigint,
    text_rank bigint,
    text_score double precision,
    text_coverage double precision,
    confidence double precision
)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, public, pg_temp
SET enable_sort = off
SET random_page_cost = 1.1
SET jit = off
SET plan_cache_mode = force_generic_plan
SET hnsw.iterative_scan = relaxed_order
SET hnsw.max_scan_tuples = 2147483647
SET hnsw.scan_mem_multiplier = 1000
SET hnsw.ef_search = 200
AS $$
DECLARE
    depth CONSTANT integer := CASE
        WHEN query IS NOT NULL AND query_text IS NOT NULL THEN GREATEST(max_rows, 50)
        ELSE GREATEST(max_rows, 2)
    END;
    conditions CONSTANT text := CASE
        WHEN filters = '{}' AND object_type IN ('knowledge', 'message', 'ticket') THEN ''
        ELSE search_conditions(object_type, filters)
    END;
    restriction CONSTANT text := COALESCE(NULLIF(conditions, ''), 'true');
    -- A small table is compared whole: its index may be of dead rows mostly, and not lead to all that live.
    few_rows CONSTANT integer := CASE WHEN conditions = '' THEN 300 ELSE 2000 END;
    base CONSTANT text := CASE object_type WHEN 'knowledge' THEN 'knowledge_base' ELSE object_type || 's' END;
    vectors CONSTANT text := CASE object_type WHEN 'knowledge' THEN base ELSE object_type || '_embeddings' END;
    of_model text := query_model;
    of_dimensions integer;
    few uuid[];
    share double precision := 1;
    rows_of_all double precision;
    width integer;
    row_id text := 'o.id';
    distance text := '(o.embedding <=> $1)';
    source text := 'knowledge_base o WHERE o.is_active AND o.embedding IS NOT NULL';
    nearest text;
    page CONSTANT text := $q$ LIMIT $2) AS nearest WHERE distance <> 'NaN'$q$;
    ids uuid[];
    distances double precision[];
BEGIN
    IF max_rows IS NULL OR max_rows NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'max_rows must be from 1 to 1000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF query IS NULL AND query_text IS NULL THEN
        RAISE EXCEPTION 'a search needs a vector or a text' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- The operators of vectors are where the extension is, which need not be public.
    IF pg_typeof(query) IS DISTINCT FROM to_regtype('public.vector') THEN
        PERFORM set_config('search_path', format('pg_catalog, public, %I, pg_temp', n.nspname), true)
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector';
    END IF;
    IF query IS NOT NULL THEN
        -- What was loaded since the table was analysed counts, as far as the server has counted it.
        SELECT GREATEST(reltuples, NULLIF(pg_stat_get_live_tuples(oid), 0)) INTO rows_of_all
        FROM pg_class WHERE oid = base::regclass;
        IF conditions <> '' OR rows_of_all <= few_rows THEN
            EXECUTE 'SELECT ARRAY(SELECT o.id FROM ' || base || ' o WHERE ' || restriction
                || ' LIMIT $1 + 1)' INTO few USING few_rows;
            IF cardinality(few) > few_rows THEN
                few := NULL;
                IF conditions = '' THEN
                    rows_of_all := -1;  -- more than anybody has counted
                ELSE
                    -- Some fifty pages of the table tell which share of all rows that is.
                    EXECUTE 'SELECT avg(CASE WHEN ' || restriction || ' THEN 1 ELSE 0 END) FROM ' || base
                        || ' o TABLESAMPLE SYSTEM ($1) REPEATABLE (1)'
                        INTO share USING 5000.0 / GREATEST(pg_relation_size(base::regclass) / 8192, 50);
                END IF;
            END IF;
        END IF;
        -- Of more rows, more have to be looked at to find the nearest (the table may never have been analysed);
        -- and the fewer rows a filter leaves, the farther from the vector they lie.
        width := CASE WHEN rows_of_all < 0 THEN 200 ELSE LEAST(200, 30 + sqrt(rows_of_all) / 2) END;
        -- Dead rows hold places in the index until VACUUM takes them out: the more, the more are looked at.
        width := width * LEAST(5, 1 + pg_stat_get_dead_tuples(vectors::regclass)
            / GREATEST(5 * pg_stat_get_live_tuples(vectors::regclass), 5));
        width := GREATEST(depth, LEAST(1000, width / GREATEST(share, 0.35)));
        PERFORM set_config('hnsw.ef_search', width::text, true);
        IF object_type = 'knowledge' THEN
            IF of_model IS NOT NULL THEN
                -- Vectors of other models alone are no reason to look at every one of them.
                IF NOT EXISTS (
                    SELECT FROM knowledge_base k
                    WHERE k.embedding IS NOT NULL AND k.metadata #>> '{embedding,model}' = of_model
                ) AND NOT EXISTS (SELECT FROM knowledge_base k
                    WHERE k.embedding IS NOT NULL AND k.metadata #>> '{embedding,model}' IS NULL
                ) AND EXISTS (SELECT FROM knowledge_base k WHERE k.embedding IS NOT NULL) THEN
                    RETURN;
                END IF;
                IF query_dimensions::text <> (
                    SELECT k.metadata #>> '{embedding,dimensions}' FROM knowledge_base k
                    WHERE k.embedding IS NOT NULL AND k.metadata #>> '{embedding,model}' = of_model LIMIT 1
                ) THEN
                    RETURN;
                END IF;
                source := source || $q$ AND COALESCE(o.metadata #>> '{embedding,model}', $4) = $4$q$;
            END IF;
        ELSE
            SELECT m.model, m.dimensions INTO of_model, of_dimensions FROM embedding_models m
            WHERE m.object_type = search_objects.object_type;
            IF query_model <> of_model OR query_dimensions <> of_dimensions THEN
                RETURN;
            END IF;
            row_id := 'e.' || object_type || '_id';
            distance := '(e.embedding <=> $1::halfvec(1536))';
            source := object_type || '_embeddings e'
                || CASE WHEN few IS NULL AND conditions <> ''
                    THEN ' JOIN ' || base || ' o ON o.id = ' || row_id ELSE '' END
                || ' WHERE e.model = $4 AND e.embedding IS NOT NULL';
        END IF;
        source := source || CASE
            WHEN few IS NOT NULL THEN ' AND ' || row_id || ' = ANY ($3)'
            WHEN conditions <> '' THEN ' AND ' || conditions ELSE ''
        END;
        IF object_type = 'knowledge' AND conditions = '' AND few IS NULL THEN
            -- The same, and the most usual search: planned once in a session.
            SELECT array_agg(n.id), array_agg(n.distance) INTO ids, distances FROM (
                SELECT o.id, o.embedding <=> query AS distance FROM knowledge_base o
                WHERE o.is_active AND o.embedding IS NOT NULL
                    AND (of_model IS NULL OR COALESCE(o.metadata #>> '{embedding,model}', of_model) = of_model)
                ORDER BY o.embedding <=> query LIMIT depth
            ) AS n WHERE n.distance <> 'NaN';
        END IF;
        nearest := 'SELECT array_agg(id), array_agg(distance) FROM (
            SELECT ' || row_id || ' AS id, ' || distance || ' AS distance FROM ' || source
            || ' ORDER BY ' || distance;
        IF few IS NULL AND ids IS NULL THEN
            EXECUTE nearest || page INTO ids, distances USING query, depth, few, of_model;
        END IF;
        -- The page is not full: there are no more rows, or the index does not lead to all of them, as happens
        -- where many vectors are equal. The sum is no expression of the index, so this is a look at each.
        IF COALESCE(cardinality(ids), 0) < depth THEN
            EXECUTE nearest || ' + 0' || page INTO ids, distances USING query, depth, few, of_model;
        END IF;
    END IF;

    IF query_text IS NULL THEN
        RETURN QUERY
            SELECT n.id, 1 - n.distance, 1 - n.distance, n.rank, NULL::bigint, NULL::double precision,
                NULL::double precision,
                1 - CASE n.rank WHEN 1 THEN (n.distance + COALESCE(n.next, n.distance)) / 2 ELSE n.distance END
            FROM (
                SELECT *, row_number() OVER nearest AS rank, lead(u.distance) OVER nearest AS next
                FROM unnest(ids, distances) AS u(id, distance) WINDOW nearest AS (ORDER BY u.distance, u.id)
            ) AS n
            WHERE n.rank <= max_rows AND (min_similarity IS NULL OR 1 - n.distance >= min_similarity)
            ORDER BY n.rank;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE $q$
        WITH near AS MATERIALIZED (
            SELECT id, distance, row_number() OVER (ORDER BY distance, id) AS rank
            FROM unnest($2, $3) AS n(id, distance)
        ), worded AS MATERIALIZED (
            SELECT id, score, coverage,
                CASE WHEN coverage > 0 THEN row_number() OVER (ORDER BY score DESC NULLS LAST, id) END AS rank
            FROM search_words($6, $7, $12, $8, COALESCE($2, '{}'))
        ), fused AS (
            SELECT id, n.rank AS near_rank, w.rank AS word_rank, COALESCE(w.score, 0) AS word_score, w.coverage,
                NULLIF(COALESCE(n.distance, $q$ || CASE
                    WHEN query IS NULL THEN 'NULL'
                    WHEN object_type = 'knowledge' THEN
                        $q$(SELECT o.embedding <=> $1 FROM knowledge_base o WHERE o.id = w.id
                            AND ($4 IS NULL OR COALESCE(o.metadata #>> '{embedding,model}', $4) = $4))$q$
                    ELSE '(SELECT ' || distance || ' FROM ' || object_type || '_embeddings e WHERE '
                        || row_id || ' = w.id AND e.model = $4)'
                END || $q$), 'NaN') AS distance
            FROM near n FULL JOIN worded w USING (id)
        -- What has no embedding yet is taken for as similar as its words are. The opposite is not less than 0.
        ), scored AS (
            SELECT *, CASE WHEN $1 IS NULL THEN word_score ELSE
                ($9 * GREATEST(COALESCE(1 - distance, word_score), 0) + $10 * word_score) / ($9 + $10)
            END AS score
            FROM fused
        ), ranked AS (
            SELECT *, CASE row_number() OVER best
                WHEN 1 THEN (score + COALESCE(lead(score) OVER best, score)) / 2 ELSE score
            END AS confidence
            FROM scored WINDOW best AS (ORDER BY score DESC, id)
        )
        SELECT id, 1 - distance, score, near_rank, word_rank, word_score, coverage, confidence
        FROM ranked
        WHERE $5 IS NULL OR 1 - distance >= $5
        ORDER BY score DESC, id LIMIT $11
    $q$ USING query, ids, distances, of_model, min_similarity, object_type, query_text,
        concat_ws(' AND ', CASE object_type WHEN 'knowledge' THEN 'o.is_active' END, NULLIF(conditions, '')),
        vector_weight, text_weight, max_rows, depth;
END;
$$;
