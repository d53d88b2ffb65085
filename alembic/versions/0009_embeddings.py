"""Keep embeddings of messages and tickets beside their tables, and those of a next model beside the articles.

- ``message_embeddings`` and ``ticket_embeddings``: half the size of full vectors, one row per model, so that
  a next model is prepared while the present one answers. ``embedding`` is NULL where there is no text.
- ``embedding_models``: the model that answers; one UPDATE switches.
- ``replaced_models``: those that answered before, whose forgotten workers must not switch back.
- ``knowledge_embeddings``: vectors of a next model, until they take the place of those in ``knowledge_base``.
- ``embedding_queue``: what may lack an embedding, so that nobody has to look for it. What is there is put in
  now, what comes by triggers. Entries are not unique: a worker holds those that it works on, and nobody who
  writes a message may wait for it. What an embedder has refused waits here, articles too, and is forgotten
  with the text that was refused (``forget_refusals``).
- A vector goes with the text that it was made from: triggers delete it when the text changes or goes.
- ``article_hash``: of the text that an article is embedded from; the next revision has an index of it.

Locks: SHARE ROW EXCLUSIVE on knowledge_base, messages and tickets, for about two seconds per million rows.
Reversible: yes; embeddings of messages and tickets would have to be computed again.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Rows that a downgrade loses: table and condition. The queue is filled anew by an upgrade.
LOSES = dict.fromkeys(
    [
        "embedding_models",
        "replaced_models",
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
    CREATE TABLE replaced_models (
        object_type  varchar(20) CHECK (object_type IN ('knowledge', 'message', 'ticket')),
        model        varchar(255),
        replaced_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (object_type, model)
    )
    """,
    """
    CREATE TABLE embedding_queue (
        object_type  varchar(20) CHECK (object_type IN ('knowledge', 'message', 'ticket')),
        model        varchar(255) DEFAULT '',
        id           bigint GENERATED ALWAYS AS IDENTITY,
        object_id    uuid NOT NULL,
        failures     integer NOT NULL DEFAULT 0,
        refused_at   timestamptz,
        PRIMARY KEY (object_type, model, id)
    )
    """,
    "CREATE INDEX embedding_queue_refused_idx ON embedding_queue (object_id) WHERE failures > 0",
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


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    op.execute_file("article_hash", version=1)
    op.execute_file("ticket_text", version=1)
    op.execute_file("forget_refusals", version=1)
    op.execute_file("forget_embeddings", version=1)
    op.execute_file("queue_embeddings", version=1)
    # The triggers' lock waits for whoever writes now, so that nothing is missed.
    op.execute_file("embeddings.triggers", version=1)
    for object_type in ("message", "ticket"):
        columns = "embedding_queue (object_type, object_id)"
        op.execute(f"INSERT INTO {columns} SELECT '{object_type}', id FROM {object_type}s")


def downgrade() -> None:
    op.execute("DROP TRIGGER trg_tickets_queue_embedding ON tickets")
    op.execute("DROP TRIGGER trg_messages_queue_embedding ON messages")
    op.execute("DROP TRIGGER trg_tickets_forget_embedding ON tickets")
    op.execute("DROP TRIGGER trg_messages_forget_embedding ON messages")
    op.execute("DROP TRIGGER trg_messages_forget_deleted ON messages")
    op.execute("DROP TRIGGER trg_knowledge_base_forget_refusal ON knowledge_base")
    op.execute("DROP TRIGGER trg_knowledge_base_forget_deleted ON knowledge_base")
    op.execute("DROP FUNCTION queue_embeddings()")
    op.execute("DROP FUNCTION forget_embeddings()")
    op.execute("DROP FUNCTION forget_refusals(uuid[])")
    op.execute("DROP FUNCTION ticket_text(uuid)")
    op.execute("DROP FUNCTION article_hash(text, text)")
    for table in ("embedding_queue", *reversed(LOSES)):
        op.execute(f"DROP TABLE {table}")
