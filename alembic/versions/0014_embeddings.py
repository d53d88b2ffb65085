"""Keep embeddings of messages and tickets beside their tables, and those of a next model beside the articles.

- ``message_embeddings`` and ``ticket_embeddings``: half the size of full vectors, one row per model, so that
  a next model is prepared while the present one answers. ``embedding`` is NULL where there is no text.
- ``embedding_models``: the model that answers; one UPDATE switches.
- ``knowledge_embeddings``: vectors of a next model, until they take the place of those in ``knowledge_base``.
- ``embedding_queue``: what a worker has found missing, for several workers to share.
- A vector goes with the text that it was made from: triggers delete it when the text changes or goes.

Locks: SHARE ROW EXCLUSIVE on knowledge_base, messages and tickets, for an instant.
Reversible: yes; embeddings of messages and tickets would have to be computed again.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Rows that a downgrade loses: table and condition.
LOSES = dict.fromkeys(
    [
        "embedding_models",
        "embedding_queue",
        "knowledge_embeddings",
        "message_embeddings",
        "ticket_embeddings",
    ],
    "true",
)

TABLES = [
    """
    CREATE TABLE embedding_models (
        object_type  varchar(20) PRIMARY KEY CHECK (object_type IN ('message', 'ticket')),
        model        varchar(255) NOT NULL,
        dimensions   integer NOT NULL,
        since        timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE embedding_queue (
        object_type  varchar(20) CHECK (object_type IN ('message', 'ticket')),
        model        varchar(255),
        object_id    uuid,
        PRIMARY KEY (object_type, model, object_id)
    )
    """,
    """
    CREATE TABLE knowledge_embeddings (
        article_id    uuid REFERENCES knowledge_base(id) ON DELETE CASCADE,
        model         varchar(255),
        dimensions    integer NOT NULL,
        content_hash  bytea NOT NULL,
        embedding     vector(1536) NOT NULL,
        embedded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (article_id, model)
    )
    """,
    """
    CREATE TABLE message_embeddings (
        message_id    uuid REFERENCES messages(id) ON DELETE CASCADE,
        model         varchar(255),
        dimensions    integer NOT NULL,
        content_hash  bytea NOT NULL,
        embedding     halfvec(1536),
        embedded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (message_id, model)
    )
    """,
    """
    CREATE TABLE ticket_embeddings (
        ticket_id     uuid REFERENCES tickets(id) ON DELETE CASCADE,
        model         varchar(255),
        dimensions    integer NOT NULL,
        content_hash  bytea NOT NULL,
        messages      integer NOT NULL,
        embedding     halfvec(1536),
        embedded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (ticket_id, model)
    )
    """,
    "CREATE INDEX message_embeddings_content_hash_idx ON message_embeddings (content_hash)",
    "CREATE INDEX ticket_embeddings_content_hash_idx ON ticket_embeddings (content_hash)",
    """
    CREATE INDEX message_embeddings_embedding_idx ON message_embeddings
    USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 200)
    """,
    """
    CREATE INDEX ticket_embeddings_embedding_idx ON ticket_embeddings
    USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 200)
    """,
]

FUNCTIONS_AND_TRIGGERS = [
    r"""
-- What a ticket is embedded from: its subject, the first three messages of its conversation, and how it was
-- solved.
CREATE OR REPLACE FUNCTION ticket_text(ticket_id uuid)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left(concat_ws(E'\n', t.subject, (
        SELECT string_agg(left(m.content, 2000), E'\n' ORDER BY m.created_at, m.id)
        FROM (
            SELECT * FROM messages WHERE conversation_id = t.conversation_id ORDER BY created_at, id LIMIT 3
        ) AS m
    ), t.resolution_notes), 8000)
    FROM tickets t WHERE t.id = ticket_id
$$
    """,
    """
-- A vector goes with the text that it was made from; what is missing is embedded again.
--
-- A worker holds FOR KEY SHARE on the row whose embedding it stores. FOR UPDATE waits for it, so that the
-- DELETE finds what it has stored, and lets later ones wait for the new text. A change of other columns takes
-- no such lock, and neither waits for workers nor stops them.
CREATE OR REPLACE FUNCTION forget_embeddings()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'tickets' THEN
        PERFORM FROM tickets WHERE id = OLD.id FOR UPDATE;
        DELETE FROM ticket_embeddings WHERE ticket_id = OLD.id;
    ELSE
        PERFORM FROM messages WHERE id = OLD.id FOR UPDATE;
        DELETE FROM message_embeddings WHERE message_id = OLD.id;
        PERFORM FROM tickets
        WHERE conversation_id IN (OLD.conversation_id, NEW.conversation_id) ORDER BY id FOR UPDATE;
        DELETE FROM ticket_embeddings e USING tickets t
        WHERE t.id = e.ticket_id AND t.conversation_id IN (OLD.conversation_id, NEW.conversation_id);
    END IF;
    RETURN NULL;
END;
$$
    """,
    """
REVOKE ALL ON FUNCTION forget_embeddings() FROM PUBLIC
    """,
    """
CREATE OR REPLACE TRIGGER trg_messages_forget_deleted
    AFTER DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION forget_embeddings()
    """,
    """
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_deleted
    """,
    """
CREATE OR REPLACE TRIGGER trg_messages_forget_embedding
    AFTER UPDATE OF content, conversation_id ON messages
    FOR EACH ROW WHEN ((OLD.content, OLD.conversation_id) IS DISTINCT FROM (NEW.content, NEW.conversation_id))
    EXECUTE FUNCTION forget_embeddings()
    """,
    """
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_embedding
    """,
    """
CREATE OR REPLACE TRIGGER trg_tickets_forget_embedding
    AFTER UPDATE OF subject, resolution_notes, conversation_id ON tickets
    FOR EACH ROW WHEN (
        (OLD.subject, OLD.resolution_notes, OLD.conversation_id)
        IS DISTINCT FROM (NEW.subject, NEW.resolution_notes, NEW.conversation_id)
    )
    EXECUTE FUNCTION forget_embeddings()
    """,
    """
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_forget_embedding
    """,
]


def upgrade() -> None:
    for statement in [*TABLES, *FUNCTIONS_AND_TRIGGERS]:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER trg_tickets_forget_embedding ON tickets")
    op.execute("DROP TRIGGER trg_messages_forget_embedding ON messages")
    op.execute("DROP TRIGGER trg_messages_forget_deleted ON messages")
    op.execute("DROP FUNCTION forget_embeddings()")
    op.execute("DROP FUNCTION ticket_text(uuid)")
    for table in reversed(LOSES):
        op.execute(f"DROP TABLE {table}")
