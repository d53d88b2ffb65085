"""The eight tables, exactly as the schema's DDL has them.

Later revisions mend the DDL's known faults one by one and say so; a database that was made with the raw DDL
equals this revision.

Needs pgvector 0.8 or newer. pgcrypto is created only where the server offers it: ``gen_random_uuid()`` is
built into PostgreSQL, nothing else of pgcrypto is used.

Locks: none that anybody could wait for; all objects are new.
Reversible: yes; drops the tables with everything in them, and the extensions that this revision created
unless something else has come to use them.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The comment marks the extensions that were not there before.
CREATE_EXTENSIONS = """
DO $$
DECLARE
    offered text := (SELECT default_version FROM pg_available_extensions WHERE name = 'vector');
    installed text := (SELECT extversion FROM pg_extension WHERE extname = 'vector');
BEGIN
    IF COALESCE(installed, offered) IS NULL THEN
        RAISE EXCEPTION 'this server does not offer the extension "vector": install pgvector 0.8 or newer'
            USING ERRCODE = 'feature_not_supported';
    ELSIF string_to_array(COALESCE(installed, offered), '.')::int[] < ARRAY[0, 8] THEN
        RAISE EXCEPTION 'pgvector % is too old: 0.8 or newer is needed (ALTER EXTENSION vector UPDATE)',
            COALESCE(installed, offered) USING ERRCODE = 'feature_not_supported';
    ELSIF installed IS NULL THEN
        CREATE EXTENSION vector;
        COMMENT ON EXTENSION vector IS 'created by revision 0001';
    END IF;
END
$$
"""

CREATE_PGCRYPTO = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pgcrypto')
        AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto')
    THEN
        CREATE EXTENSION pgcrypto;
        COMMENT ON EXTENSION pgcrypto IS 'created by revision 0001';
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'pgcrypto was left out: not permitted, and not needed';
END
$$
"""

DROP_EXTENSIONS = """
DO $$
DECLARE
    extension name;
BEGIN
    FOR extension IN
        SELECT extname FROM pg_extension
        WHERE obj_description(oid, 'pg_extension') = 'created by revision 0001'
    LOOP
        BEGIN
            EXECUTE format('DROP EXTENSION %I', extension);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'extension % stays: something else uses it', extension;
        END;
    END LOOP;
END
$$
"""

STATEMENTS = [
    """
    CREATE TABLE customers (
        id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        email           VARCHAR(255) UNIQUE NOT NULL,
        name            VARCHAR(255),
        phone           VARCHAR(50),
        company         VARCHAR(255),
        plan            VARCHAR(50) DEFAULT 'free'
                        CHECK (plan IN ('free', 'starter', 'professional', 'enterprise')),
        metadata        JSONB DEFAULT '{}',
        created_at      TIMESTAMPTZ DEFAULT NOW(),
        updated_at      TIMESTAMPTZ DEFAULT NOW()
    )
    """,
    "CREATE INDEX idx_customers_email ON customers(email)",
    "CREATE INDEX idx_customers_phone ON customers(phone) WHERE phone IS NOT NULL",
    """
    CREATE TABLE customer_identifiers (
        id                  UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        customer_id         UUID NOT NULL REFERENCES customers(id) ON DELETE CASCADE,
        identifier_type     VARCHAR(50) NOT NULL
                            CHECK (identifier_type IN ('email', 'phone', 'whatsapp')),
        identifier_value    VARCHAR(255) NOT NULL,
        channel             VARCHAR(50) NOT NULL
                            CHECK (channel IN ('email', 'whatsapp', 'web_form')),
        verified            BOOLEAN DEFAULT FALSE,
        created_at          TIMESTAMPTZ DEFAULT NOW(),
        UNIQUE(identifier_type, identifier_value)
    )
    """,
    "CREATE INDEX idx_identifiers_lookup ON customer_identifiers(identifier_type, identifier_value)",
    "CREATE INDEX idx_identifiers_customer ON customer_identifiers(customer_id)",
    """
    CREATE TABLE conversations (
        id                  UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        customer_id         UUID NOT NULL REFERENCES customers(id),
        channel             VARCHAR(50) NOT NULL
                            CHECK (channel IN ('email', 'whatsapp', 'web_form')),
        status              VARCHAR(50) DEFAULT 'active'
                            CHECK (status IN ('active', 'closed', 'escalated')),
        sentiment_score     FLOAT DEFAULT 0.5,
        resolution_type     VARCHAR(50)
                            CHECK (resolution_type IS NULL OR
                                   resolution_type IN ('resolved', 'escalated', 'abandoned')),
        escalation_reason   VARCHAR(255),
        metadata            JSONB DEFAULT '{}',
        created_at          TIMESTAMPTZ DEFAULT NOW(),
        updated_at          TIMESTAMPTZ DEFAULT NOW(),
        closed_at           TIMESTAMPTZ
    )
    """,
    "CREATE INDEX idx_conversations_customer ON conversations(customer_id, status)",
    "CREATE INDEX idx_conversations_channel ON conversations(channel, status)",
    "CREATE INDEX idx_conversations_created ON conversations(created_at)",
    """
    CREATE TABLE messages (
        id                      UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        conversation_id         UUID NOT NULL REFERENCES conversations(id),
        customer_id             UUID NOT NULL REFERENCES customers(id),
        channel                 VARCHAR(50) NOT NULL
                                CHECK (channel IN ('email', 'whatsapp', 'web_form')),
        direction               VARCHAR(10) NOT NULL
                                CHECK (direction IN ('inbound', 'outbound')),
        role                    VARCHAR(20) NOT NULL
                                CHECK (role IN ('customer', 'agent', 'system')),
        content                 TEXT NOT NULL,
        content_type            VARCHAR(50) DEFAULT 'text'
                                CHECK (content_type IN ('text', 'html', 'attachment_notice')),
        delivery_status         VARCHAR(50) DEFAULT 'pending'
                                CHECK (delivery_status IN ('pending', 'delivered', 'failed', 'read')),
        processing_latency_ms   INTEGER,
        metadata                JSONB DEFAULT '{}',
        created_at              TIMESTAMPTZ DEFAULT NOW()
    )
    """,
    "CREATE INDEX idx_messages_conversation ON messages(conversation_id, created_at)",
    "CREATE INDEX idx_messages_customer ON messages(customer_id, created_at)",
    "CREATE INDEX idx_messages_channel ON messages(channel, created_at)",
    "CREATE SEQUENCE ticket_number_seq START WITH 1 INCREMENT BY 1",
    """
    CREATE TABLE tickets (
        id                  UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        ticket_number       VARCHAR(20) UNIQUE NOT NULL,
        conversation_id     UUID REFERENCES conversations(id),
        customer_id         UUID NOT NULL REFERENCES customers(id),
        subject             VARCHAR(500) NOT NULL,
        category            VARCHAR(100) NOT NULL
                            CHECK (category IN ('account_access', 'billing', 'technical',
                                               'how_to', 'feature_request', 'complaint')),
        priority            VARCHAR(20) DEFAULT 'medium'
                            CHECK (priority IN ('low', 'medium', 'high', 'critical')),
        status              VARCHAR(50) DEFAULT 'open'
                            CHECK (status IN ('open', 'processing', 'waiting',
                                             'resolved', 'escalated', 'closed')),
        source_channel      VARCHAR(50) NOT NULL
                            CHECK (source_channel IN ('email', 'whatsapp', 'web_form')),
        assigned_to         VARCHAR(255),
        escalation_reason   VARCHAR(255),
        resolution_notes    TEXT,
        metadata            JSONB DEFAULT '{}',
        created_at          TIMESTAMPTZ DEFAULT NOW(),
        updated_at          TIMESTAMPTZ DEFAULT NOW(),
        resolved_at         TIMESTAMPTZ
    )
    """,
    "CREATE INDEX idx_tickets_customer ON tickets(customer_id, status)",
    "CREATE INDEX idx_tickets_status ON tickets(status, priority)",
    "CREATE INDEX idx_tickets_channel ON tickets(source_channel, created_at)",
    "CREATE INDEX idx_tickets_number ON tickets(ticket_number)",
    """
CREATE OR REPLACE FUNCTION generate_ticket_number()
RETURNS TRIGGER AS $$
BEGIN
    NEW.ticket_number := 'TKT-' || LPAD(nextval('ticket_number_seq')::TEXT, 4, '0');
    RETURN NEW;
END;
$$ LANGUAGE plpgsql
    """,
    """
    CREATE TRIGGER trg_ticket_number
        BEFORE INSERT ON tickets
        FOR EACH ROW
        WHEN (NEW.ticket_number IS NULL OR NEW.ticket_number = '')
        EXECUTE FUNCTION generate_ticket_number()
    """,
    """
    CREATE TABLE knowledge_base (
        id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        title           VARCHAR(500) NOT NULL,
        content         TEXT NOT NULL,
        category        VARCHAR(100) NOT NULL
                        CHECK (category IN ('faq', 'troubleshooting', 'feature',
                                           'billing', 'account', 'general')),
        source          VARCHAR(255) DEFAULT 'product-docs',
        embedding       vector(1536),
        metadata        JSONB DEFAULT '{}',
        is_active       BOOLEAN DEFAULT TRUE,
        created_at      TIMESTAMPTZ DEFAULT NOW(),
        updated_at      TIMESTAMPTZ DEFAULT NOW()
    )
    """,
    """
    CREATE INDEX idx_knowledge_base_embedding ON knowledge_base
        USING hnsw (embedding vector_cosine_ops)
        WITH (m = 16, ef_construction = 64)
    """,
    "CREATE INDEX idx_knowledge_base_category ON knowledge_base(category, is_active)",
    """
    CREATE TABLE channel_configs (
        id                      UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        channel                 VARCHAR(50) UNIQUE NOT NULL
                                CHECK (channel IN ('email', 'whatsapp', 'web_form')),
        is_enabled              BOOLEAN DEFAULT TRUE,
        max_response_length     INTEGER NOT NULL,
        tone                    VARCHAR(50) NOT NULL
                                CHECK (tone IN ('formal', 'conversational', 'semi-formal')),
        response_template       TEXT,
        api_config_ref          VARCHAR(255),
        metadata                JSONB DEFAULT '{}',
        created_at              TIMESTAMPTZ DEFAULT NOW(),
        updated_at              TIMESTAMPTZ DEFAULT NOW()
    )
    """,
    """
    CREATE TABLE agent_metrics (
        id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        metric_type     VARCHAR(100) NOT NULL
                        CHECK (metric_type IN ('response_latency', 'escalation',
                                              'sentiment', 'tool_call',
                                              'conversation_count', 'message_volume')),
        channel         VARCHAR(50)
                        CHECK (channel IS NULL OR
                               channel IN ('email', 'whatsapp', 'web_form')),
        value           FLOAT NOT NULL,
        metadata        JSONB DEFAULT '{}',
        recorded_at     TIMESTAMPTZ DEFAULT NOW()
    )
    """,
    "CREATE INDEX idx_metrics_type_time ON agent_metrics(metric_type, recorded_at)",
    """
    CREATE INDEX idx_metrics_channel_time ON agent_metrics(channel, recorded_at)
        WHERE channel IS NOT NULL
    """,
    """
CREATE OR REPLACE FUNCTION update_updated_at()
RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
END;
$$ LANGUAGE plpgsql
    """,
    """
CREATE TRIGGER trg_customers_updated_at
    BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    """
CREATE TRIGGER trg_conversations_updated_at
    BEFORE UPDATE ON conversations FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    """
CREATE TRIGGER trg_tickets_updated_at
    BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    """
CREATE TRIGGER trg_knowledge_base_updated_at
    BEFORE UPDATE ON knowledge_base FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    """
CREATE TRIGGER trg_channel_configs_updated_at
    BEFORE UPDATE ON channel_configs FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
]

TABLES = [
    "agent_metrics",
    "channel_configs",
    "knowledge_base",
    "tickets",
    "messages",
    "conversations",
    "customer_identifiers",
    "customers",
]

# Rows that a downgrade loses: table and condition.
LOSES = dict.fromkeys(TABLES, "true")


def upgrade() -> None:
    adopt()
    for statement in STATEMENTS:
        op.execute(statement)


def adopt() -> None:
    """What is left to do where the tables were made with the DDL."""
    op.execute(CREATE_EXTENSIONS)
    op.execute(CREATE_PGCRYPTO)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE ticket_number_seq")
    op.execute("DROP FUNCTION generate_ticket_number()")
    op.execute("DROP FUNCTION update_updated_at()")
    op.execute(DROP_EXTENSIONS)
