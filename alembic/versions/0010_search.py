"""Search articles, messages and tickets by vector, by words, or by both, through functions of the database.

With the server's defaults the planner reads a table of 20,000 embeddings row by row, and a filtered index
scan returns too few rows. As a function the search is one statement, keeps its settings behind a connection
pooler, and serves backends that write their own SQL.

- ``crm``: the one text search configuration that indexes and functions name. Its language is a matter of
  ALTER TEXT SEARCH CONFIGURATION and a rebuild of the indexes (``crm knowledge language``), not of a
  migration.
- ``text_words``: the words of a text, however it was typed; ``spelled_words``: as they are spelled;
  ``likely_words``: those that a word with a typing error may have been meant for; ``meant_words``: the one of
  them that there is.
- ``knowledge_documents``: the articles of a document in its order, for the sections before and after a hit.
- ``search_thresholds``: from which score on an answer is one, by model, as ``search.calibrate`` has measured.
- Indexes of the words, of the first 50,000 characters: a tsvector has a limit, beyond which a long message
  could no longer be stored at all. Indexes of the names that searches filter by, in one spelling
  (``folded_text``). And of articles: one of the models that embedded them, one of those whose
  embedding is not of their present text.
- ``search_words`` finds candidates by these indexes and ranks them as BM25 does; ``search_conditions`` makes
  the WHERE clause of a search from its filters.
- ``search_objects`` ranks by vector, by words, or by both, by the mean of their scores; it looks at each row
  where a filter leaves few, or where the index cannot fill the page. Among 100,000 articles, 200 candidates
  find 0.997 of the ten nearest, 447 find 0.9995 in twice the time; among 20,000, 120 find 0.995.
- ``load_vector``: lets an owner who is no superuser restore a dump.
- ``search_knowledge_base``: the articles nearest to a vector, for whoever needs no more.

Locks: builds CONCURRENTLY, so reads and writes go on; waits for older transactions. An invalid leftover of an
interrupted build is dropped first; the configuration and the tables of an interrupted run are kept.
Reversible: yes; a language that was chosen is forgotten.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

CONFIGURATION = """
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_ts_config WHERE cfgname = 'crm' AND cfgnamespace = 'public'::regnamespace
    ) THEN
        CREATE TEXT SEARCH CONFIGURATION public.crm (COPY = pg_catalog.english);
    END IF;
END
$$
"""
INDEXES = {
    "idx_knowledge_base_words": (
        "knowledge_base USING gin (text_words(left(title || ' ' || content, 50000)))"
    ),
    "idx_messages_words": "messages USING gin (text_words(left(content, 50000)))",
    "idx_tickets_words": (
        "tickets USING gin (text_words(left(subject || ' ' || COALESCE(resolution_notes, ''), 50000)))"
    ),
    "idx_knowledge_base_source": "knowledge_base (folded_text(source))",
    "idx_tickets_number_folded": "tickets (folded_text(ticket_number))",
    "idx_tickets_assignee_folded": "tickets (folded_text(assigned_to))",
    "idx_knowledge_base_model": (
        "knowledge_base ((metadata #>> '{embedding,model}')) WHERE embedding IS NOT NULL"
    ),
    "idx_knowledge_base_unembedded": (
        "knowledge_base (id) WHERE is_active AND (embedding IS NULL OR (metadata #>> '{embedding,sha256}') "
        "IS DISTINCT FROM encode(article_hash(title, content), 'hex'))"
    ),
}
TABLES = [
    """
    CREATE TABLE IF NOT EXISTS search_thresholds (
        object_type    varchar(20) CHECK (object_type IN ('knowledge', 'message', 'ticket')),
        model          varchar(255),
        dimensions     integer,
        vector_share   double precision CHECK (vector_share BETWEEN 0 AND 1),
        threshold      double precision NOT NULL,
        answered       double precision NOT NULL,
        refused        double precision NOT NULL,
        calibrated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (object_type, model, dimensions, vector_share)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS knowledge_documents (
        source       varchar(255) PRIMARY KEY,
        article_ids  uuid[] NOT NULL
    )
    """,
]
# Rows that a downgrade loses: table and condition.
LOSES = {"search_thresholds": "true", "knowledge_documents": "true"}
FUNCTIONS = {
    "folded_text": "text",
    "text_words": "text",
    "spelled_words": "text",
    "likely_words": "text",
    "meant_words": "text[], text, text, text, text, text, text",
    "search_conditions": "text, jsonb",
    "search_words": "text, text, integer, text, uuid[]",
    "load_vector": "vector",
    "search_objects": (
        "text, vector, text, integer, jsonb, double precision, text, double precision, double precision, "
        "integer"
    ),
    "search_knowledge_base": "vector, integer, text, double precision",
}


def upgrade() -> None:
    op.execute(CONFIGURATION)
    for statement in TABLES:
        op.execute(statement)
    for function in FUNCTIONS:
        op.execute_file(function, version=1)
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    for function, arguments in reversed(FUNCTIONS.items()):
        op.execute(f"DROP FUNCTION {function}({arguments})")
    op.execute("DROP TABLE knowledge_documents")
    op.execute("DROP TABLE search_thresholds")
    op.execute("DROP TEXT SEARCH CONFIGURATION crm")
