"""Search the knowledge base through a function that carries its own planner settings.

With the server's defaults the planner reads a table of 20,000 embeddings row by row, and a filtered index
scan returns too few rows. As a function the search is one statement, keeps its settings behind a connection
pooler, and serves backends that write their own SQL.

Locks: none; adds a function.
Reversible: yes.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SEARCH_KNOWLEDGE_BASE = """
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
$$
"""


def upgrade() -> None:
    # Loads the extension: who is no superuser may only set parameters that the server knows.
    op.execute("SELECT '[1]'::vector")
    op.execute(SEARCH_KNOWLEDGE_BASE)


def downgrade() -> None:
    op.execute("DROP FUNCTION search_knowledge_base(vector, integer, text, double precision)")
