"""Search articles, messages and tickets by vector, by words, or by both.

``search_objects`` takes the place of the statement in ``search_knowledge_base``, which stays for those who
call it: filters on every column, an exact look where a filter leaves few rows, words ranked by their rarity,
and both rankings fused. It is one flight, safe behind a pooler, and open to backends that write SQL.

Locks: none; adds functions and replaces one.
Reversible: yes.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SIGNATURE = """
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
"""
FUNCTIONS = [
    """
-- The WHERE clause of a search, from {"column": value}: codes and ids take one value or a list, times are
-- "created_at_from" (inclusive) and "created_at_before" (exclusive), and "not_id" leaves rows out. Values are
-- quoted, names are listed.
CREATE OR REPLACE FUNCTION search_conditions(object_type text, filters jsonb)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    codes text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['category', 'source']
        WHEN 'message' THEN ARRAY['channel', 'direction', 'role', 'content_type', 'delivery_status']
        WHEN 'ticket' THEN
            ARRAY['category', 'priority', 'status', 'source_channel', 'assigned_to', 'escalation_reason']
    END;
    ids text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['id'] ELSE ARRAY['id', 'customer_id', 'conversation_id']
    END;
    times text[] := CASE object_type
        WHEN 'knowledge' THEN ARRAY['created_at', 'updated_at']
        WHEN 'message' THEN ARRAY['created_at']
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
        ELSIF edge IS NOT NULL AND regexp_replace(filter.name, '_(from|before)$', '') = ANY (times) THEN
            conditions := conditions || format('o.%I %s %L::timestamptz',
                regexp_replace(filter.name, '_(from|before)$', ''),
                CASE edge WHEN 'from' THEN '>=' ELSE '<' END, wanted[1]);
        ELSIF filter.name = 'not_id' THEN
            conditions := conditions || format('o.id <> ALL (%L::uuid[])', wanted);
        ELSE
            RAISE EXCEPTION 'a % cannot be searched by %', object_type, filter.name
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    END LOOP;
    RETURN COALESCE(array_to_string(conditions, ' AND '), '');
END;
$$
    """,
    r"""
-- The objects that share words with a text, ranked as BM25 does: a word weighs ln(1 + all objects / objects
-- that have it), more where it is repeated or in the title, less in a long text. The index of the words finds
-- the candidates by weight alone; only the best of them are read. A word that more than 5,000 rows have
-- (fewer, if there are more than eight words) is left out where there is a rarer one, but objects that have
-- all words are always among the candidates.
-- "conditions" is SQL, as search_conditions makes it, and nothing that came from outside.
CREATE OR REPLACE FUNCTION search_words(
    object_type text,
    words text[],
    max_rows integer,
    conditions text
)
RETURNS TABLE (id uuid, score double precision)
LANGUAGE plpgsql STABLE ROWS 50
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    common CONSTANT integer := LEAST(5000, 100 + 40000 / GREATEST(cardinality(words), 1));
    base CONSTANT text := CASE object_type WHEN 'knowledge' THEN 'knowledge_base' ELSE object_type || 's' END;
    restriction CONSTANT text := CASE WHEN conditions <> '' THEN ' AND ' || conditions ELSE '' END;
    indexed CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN $q$o.title || ' ' || o.content$q$
        WHEN 'message' THEN 'o.content'
        ELSE $q$o.subject || ' ' || COALESCE(o.resolution_notes, '')$q$
    END;
    document CONSTANT text := CASE object_type
        WHEN 'knowledge' THEN
            $q$setweight(to_tsvector('crm', o.title), 'A') || to_tsvector('crm', left(o.content, 50000))$q$
        WHEN 'message' THEN $q$to_tsvector('crm', left(o.content, 50000))$q$
        ELSE $q$setweight(to_tsvector('crm', o.subject), 'A') || to_tsvector('crm', ticket_text(o.id))$q$
    END;
    holders text := 'SELECT o.id FROM ' || base || $q$ o WHERE to_tsvector('crm', left($q$ || indexed
        || ', 50000)) @@ w.query' || restriction;
    rows_of_all double precision := (SELECT reltuples FROM pg_class WHERE oid = base::regclass);
BEGIN
    IF rows_of_all <= 0 THEN
        -- Never analysed, so young and small.
        EXECUTE 'SELECT count(*) FROM ' || base INTO rows_of_all;
    END IF;
    IF object_type = 'ticket' THEN
        -- A ticket is also what was said first in its conversation.
        -- ALL, so that LIMIT ends it.
        holders := holders || $q$ UNION ALL SELECT o.id FROM messages m JOIN tickets o USING (conversation_id)
            WHERE to_tsvector('crm', left(m.content, 50000)) @@ w.query
                AND NOT EXISTS (
                    SELECT FROM messages b WHERE b.conversation_id = m.conversation_id
                        AND (b.created_at, b.id) < (m.created_at, m.id) OFFSET 2
                )$q$ || restriction;
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH wanted AS MATERIALIZED (
            SELECT word, ('''' || replace(replace(word, '\', '\\'), '''', '''''') || '''')::tsquery AS query
            FROM unnest($1) AS word
        ), one_word AS MATERIALIZED (
            SELECT w.word, h.id FROM wanted w, LATERAL (%1$s LIMIT $4 + 1) AS h
        ), all_words AS MATERIALIZED (
            SELECT h.id FROM (SELECT string_agg(query::text, ' & ')::tsquery AS query FROM wanted) AS w,
                LATERAL (%1$s LIMIT $4) AS h
        ), found AS MATERIALIZED (
            SELECT word, id FROM one_word UNION SELECT w.word, a.id FROM wanted w, all_words a
        ), rarity AS MATERIALIZED (
            SELECT word, ln(1 + GREATEST($3, holders) / holders) AS weight, is_rare FROM (
                SELECT word, count(DISTINCT id) AS holders, count(*) <= $4 AS is_rare
                FROM one_word GROUP BY word
            ) AS counted
        ), telling AS MATERIALIZED (
            SELECT word, weight FROM rarity WHERE is_rare OR NOT EXISTS (SELECT FROM rarity WHERE is_rare)
        ), candidates AS MATERIALIZED (
            SELECT f.id, sum(t.weight) AS weight FROM found f JOIN telling t USING (word)
            GROUP BY f.id ORDER BY weight DESC, f.id LIMIT GREATEST($2, 50)
        ), documents AS MATERIALIZED (
            SELECT o.id, %2$s AS words FROM candidates c JOIN %3$I o ON o.id = c.id
        ), lengths AS MATERIALIZED (
            SELECT d.id, 0.25 + 0.75 * length(d.words) / NULLIF(avg(length(d.words)) OVER (), 0) AS relative
            FROM documents d
        )
        SELECT d.id, sum(t.weight * 2.2 * u.times / (u.times + 1.2 * l.relative))
        FROM documents d JOIN lengths l USING (id), LATERAL (
            SELECT lexeme, (SELECT sum(CASE w WHEN 'A' THEN 3 ELSE 1 END) FROM unnest(weights) AS w) AS times
            FROM unnest(d.words)
        ) AS u JOIN telling t ON t.word = u.lexeme
        GROUP BY d.id ORDER BY 2 DESC, d.id LIMIT $2
    $q$, holders, document, base)
    USING words, max_rows, rows_of_all, common;
END;
$$
    """,
    """
-- Articles ('knowledge'), messages or tickets that are like a vector, share words with a text, or both: then
-- the two rankings are fused by their ranks (reciprocal rank fusion). Always min(max_rows, matching) rows.
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
    vector_weight double precision DEFAULT 1,
    text_weight double precision DEFAULT 0.7
)
RETURNS TABLE (
    id uuid,
    similarity double precision,
    score double precision,
    vector_rank bigint,
    text_rank bigint,
    text_score double precision
)
LANGUAGE plpgsql STABLE ROWS 10
SET enable_sort = off
SET random_page_cost = 1.1
SET jit = off
SET hnsw.iterative_scan = relaxed_order
SET hnsw.max_scan_tuples = 2147483647
SET hnsw.scan_mem_multiplier = 1000
SET hnsw.ef_search = 200
AS $$
DECLARE
    few_rows CONSTANT integer := 2000;
    depth CONSTANT integer := CASE
        WHEN query IS NOT NULL AND query_text IS NOT NULL THEN GREATEST(max_rows, 50) ELSE max_rows
    END;
    conditions CONSTANT text := search_conditions(object_type, filters);
    base CONSTANT text := CASE object_type WHEN 'knowledge' THEN 'knowledge_base' ELSE object_type || 's' END;
    of_model text := query_model;
    few uuid[];
    share double precision;
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
    IF query IS NOT NULL THEN
        IF conditions <> '' THEN
            EXECUTE 'SELECT ARRAY(SELECT o.id FROM ' || base || ' o WHERE ' || conditions || ' LIMIT $1 + 1)'
                INTO few USING few_rows;
            IF cardinality(few) > few_rows THEN
                few := NULL;
                -- Some fifty pages of the table tell which share of all rows that is.
                EXECUTE 'SELECT avg(CASE WHEN ' || conditions || ' THEN 1 ELSE 0 END) FROM ' || base
                    || ' o TABLESAMPLE SYSTEM ($1) REPEATABLE (1)'
                    INTO share USING 5000.0 / GREATEST(pg_relation_size(base::regclass) / 8192, 50);
            END IF;
        END IF;
        -- The fewer rows a filter leaves, the farther from the vector they lie: so much more is looked at.
        PERFORM set_config('hnsw.ef_search', round(LEAST(1000, GREATEST(
            depth, CASE WHEN conditions = '' THEN 200 ELSE 200 / GREATEST(share, 0.1) END)))::text, true);
        IF object_type = 'knowledge' THEN
            IF of_model IS NOT NULL THEN
                -- Nothing of this model is no reason to look at every vector.
                IF NOT EXISTS (SELECT FROM knowledge_base k
                    WHERE k.embedding IS NOT NULL AND k.metadata #>> '{embedding,model}' = of_model
                ) AND NOT EXISTS (SELECT FROM knowledge_base k
                    WHERE k.embedding IS NOT NULL AND k.metadata #>> '{embedding,model}' IS NULL
                ) THEN
                    RETURN;
                END IF;
                source := source || $q$ AND COALESCE(o.metadata #>> '{embedding,model}', $4) = $4$q$;
            END IF;
        ELSE
            SELECT m.model INTO of_model FROM embedding_models m
            WHERE m.object_type = search_objects.object_type;
            IF query_model <> of_model THEN
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
        nearest := 'SELECT array_agg(id), array_agg(distance) FROM (
            SELECT ' || row_id || ' AS id, ' || distance || ' AS distance FROM ' || source
            || ' ORDER BY ' || distance;
        IF few IS NULL THEN
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
            SELECT n.id, 1 - n.distance, 1 - n.distance, row_number() OVER (ORDER BY n.distance, n.id),
                NULL::bigint, NULL::double precision
            FROM unnest(ids, distances) AS n(id, distance)
            WHERE min_similarity IS NULL OR 1 - n.distance >= min_similarity
            ORDER BY n.distance, n.id;
        RETURN;
    END IF;
    RETURN QUERY EXECUTE $q$
        WITH near AS MATERIALIZED (
            SELECT id, distance, row_number() OVER (ORDER BY distance, id) AS rank
            FROM unnest($2, $3) AS n(id, distance)
        ), worded AS MATERIALIZED (
            SELECT id, score, row_number() OVER (ORDER BY score DESC, id) AS rank
            FROM search_words($6, tsvector_to_array(to_tsvector('crm', left($7, 10000))), $12, $8)
        ), fused AS (
            SELECT id, n.distance, n.rank AS near_rank, w.rank AS word_rank, w.score AS word_score,
                CASE WHEN $1 IS NULL THEN w.score
                    ELSE COALESCE($9 / (60 + n.rank), 0) + COALESCE($10 / (60 + w.rank), 0) END AS score
            FROM near n FULL JOIN worded w USING (id)
        )
        SELECT id, similarity, score, near_rank, word_rank, word_score FROM (
            SELECT fused.*, 1 - NULLIF(COALESCE(distance, $q$ || CASE
                WHEN query IS NULL THEN 'NULL'
                WHEN object_type = 'knowledge' THEN
                    $q$(SELECT o.embedding <=> $1 FROM knowledge_base o WHERE o.id = fused.id
                        AND ($4 IS NULL OR COALESCE(o.metadata #>> '{embedding,model}', $4) = $4))$q$
                ELSE '(SELECT ' || distance || ' FROM ' || object_type || '_embeddings e WHERE '
                    || row_id || ' = fused.id AND e.model = $4)'
            END || $q$), 'NaN') AS similarity FROM fused
        ) AS measured
        WHERE $5 IS NULL OR similarity >= $5
        ORDER BY score DESC, id LIMIT $11
    $q$ USING query, ids, distances, of_model, min_similarity, object_type, query_text,
        concat_ws(' AND ', CASE object_type WHEN 'knowledge' THEN 'o.is_active' END, NULLIF(conditions, '')),
        vector_weight, text_weight, max_rows, depth;
END;
$$
    """,
    SIGNATURE
    + """
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, k.title, k.content, k.category, k.source, k.metadata #>> '{embedding,model}', hit.similarity
    FROM search_objects('knowledge', query, NULL, max_rows,
        jsonb_strip_nulls(jsonb_build_object('category', only_category)), min_similarity) AS hit
    JOIN knowledge_base k ON k.id = hit.id
    ORDER BY hit.vector_rank;
END;
$$
    """,
]

BODY_OF_0008 = """
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
$$
"""


def upgrade() -> None:
    # Loads the extension: who is no superuser may only set parameters that the server knows.
    op.execute("SELECT '[1]'::vector")
    for statement in FUNCTIONS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("SELECT '[1]'::vector")
    op.execute("DROP FUNCTION search_knowledge_base(vector, integer, text, double precision)")
    op.execute(SIGNATURE + BODY_OF_0008)
    op.execute("DROP FUNCTION search_objects, search_words, search_conditions")
