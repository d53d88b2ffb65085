"""The SQL of the hand-written contender: as few statements as the work can be put into.

Parameters are named as the fields of the operations. What several of them share is put in once, when the
module is loaded.
"""

from __future__ import annotations

FIND = """
    SELECT * FROM customers WHERE id = COALESCE(
        (
            SELECT customer_id FROM customer_identifiers
            WHERE identifier_type = 'email' AND identifier_value = %(address)s
        ),
        (SELECT id FROM customers WHERE email = %(address)s ORDER BY created_at, id LIMIT 1)
    )
"""

RESOLVE_KNOWN = """
    SELECT c.id, i.verified, c.name, c.company, c.phone, c.email
    FROM customer_identifiers AS i JOIN customers AS c ON c.id = i.customer_id
    WHERE i.identifier_type = 'email' AND i.identifier_value = %(address)s
"""

# The same key as the services', so that both take turns on one new person.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('crm/identity/email:' || %(address)s::text, 0))"

_NEW_PERSON = """
    new_customer AS (
        INSERT INTO customers (id, email, name)
        SELECT %(customer_id)s, %(address)s, %(name)s
        WHERE NOT EXISTS (
            SELECT FROM customer_identifiers
            WHERE identifier_type = 'email' AND identifier_value = %(address)s
        ) AND NOT EXISTS (SELECT FROM customers WHERE email = %(address)s)
        RETURNING id
    ), new_identifier AS (
        INSERT INTO customer_identifiers
            (id, customer_id, identifier_type, identifier_value, channel, verified)
        SELECT %(identifier_id)s, id, 'email', %(address)s, 'email', true FROM new_customer
        WHERE set_config('crm.once_actor', 'system:identity', true) IS NOT NULL
    )
"""

RESOLVE_NEW = f"""
    WITH {_NEW_PERSON}
    SELECT id, record_identity_events(%(events)s) FROM new_customer
"""

_MESSAGE = (
    "id, conversation_id, customer_id, channel, direction, role, content, content_type, delivery_status, "
    "metadata, created_at"
)
_VALUES = "'email', 'inbound', 'customer', %(content)s, 'text', 'delivered', %(metadata)s, clock_timestamp()"

# All or nothing: without sender, active conversation and first delivery, nothing is written.
INGEST_KNOWN = f"""
    WITH sender AS MATERIALIZED (
        SELECT c.id FROM customer_identifiers AS i JOIN customers AS c ON c.id = i.customer_id
        WHERE i.identifier_type = 'email' AND i.identifier_value = %(address)s AND i.verified
        FOR NO KEY UPDATE OF c
    ), conversation AS MATERIALIZED (
        SELECT v.id, v.customer_id FROM sender AS s
        JOIN conversations AS v ON v.customer_id = s.id
        JOIN conversation_routes AS r ON r.conversation_id = v.id
        WHERE r.channel = 'email' AND r.account = %(account)s AND r.identifier_type = 'email'
            AND r.identifier_value = %(address)s AND v.status IS DISTINCT FROM 'closed'
        ORDER BY v.created_at DESC, v.id DESC LIMIT 1
    ), ticket AS MATERIALIZED (
        SELECT id, status FROM tickets WHERE conversation_id = (SELECT id FROM conversation)
        ORDER BY created_at DESC, id DESC LIMIT 1 FOR NO KEY UPDATE
    ), receipt AS (
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT 'email', %(account)s, %(provider_message_id)s, %(message_id)s FROM conversation
        WHERE NOT EXISTS (SELECT FROM ticket WHERE status IN ('resolved', 'waiting'))
        ON CONFLICT DO NOTHING RETURNING message_id
    )
    INSERT INTO messages ({_MESSAGE})
    SELECT r.message_id, c.id, c.customer_id, {_VALUES} FROM receipt AS r, conversation AS c
    RETURNING id, conversation_id, customer_id, (SELECT id FROM ticket)
"""

INGEST_NEW = f"""
    WITH {_NEW_PERSON}, conversation AS (
        INSERT INTO conversations (id, customer_id, channel)
        SELECT %(conversation_id)s, id, 'email' FROM new_customer
    ), route AS (
        INSERT INTO conversation_routes
            (conversation_id, channel, account, identifier_type, identifier_value, address)
        SELECT %(conversation_id)s, 'email', %(account)s, 'email', %(address)s, %(address)s FROM new_customer
    ), receipt AS (
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT 'email', %(account)s, %(provider_message_id)s, %(message_id)s FROM new_customer
    ), message AS (
        INSERT INTO messages ({_MESSAGE})
        SELECT %(message_id)s, %(conversation_id)s, id, {_VALUES} FROM new_customer
    )
    SELECT id, record_identity_events(%(events)s) FROM new_customer
"""

_AS_ACTOR = """
    set_config('crm.once_actor', %(actor)s, true) IS NOT NULL
    AND set_config('crm.once_comment', %(comment)s, true) IS NOT NULL
"""

OPEN_TICKET = f"""
    WITH customer AS MATERIALIZED (
        SELECT id FROM customers WHERE id = COALESCE(
            (SELECT customer_id FROM customer_redirects WHERE absorbed_id = %(customer_id)s), %(customer_id)s
        ) FOR KEY SHARE
    )
    INSERT INTO tickets (id, customer_id, conversation_id, subject, category, source_channel, priority)
    SELECT %(id)s, c.id, v.id, %(subject)s, 'account_access', 'email', 'medium'
    FROM customer AS c JOIN conversations AS v ON v.customer_id = c.id AND v.id = %(conversation_id)s
    WHERE {_AS_ACTOR}
    RETURNING *
"""

CHANGE_STATUS = f"""
    UPDATE tickets SET status = %(status)s WHERE id = %(ticket_id)s AND {_AS_ACTOR} RETURNING *
"""

ASSIGN = f"""
    UPDATE tickets SET assigned_to = %(assignee)s WHERE id = %(ticket_id)s AND {_AS_ACTOR} RETURNING *
"""

REPLY = """
    WITH message AS (
        INSERT INTO messages (
            id, conversation_id, customer_id, channel, direction, role, content, content_type,
            delivery_status, created_at
        )
        SELECT %(id)s, id, customer_id, channel, 'outbound', 'agent', %(content)s, 'text', 'pending',
            clock_timestamp()
        FROM conversations WHERE id = %(conversation_id)s
        RETURNING *
    ), queued AS (
        INSERT INTO outbox (message_id, conversation_id)
        SELECT id, conversation_id FROM message WHERE EXISTS (
            SELECT FROM conversation_routes AS route WHERE route.conversation_id = message.conversation_id
        )
    )
    SELECT * FROM message
"""

HISTORY = """
    SELECT m.id, m.conversation_id, m.channel, c.channel, m.direction, m.role, m.content, m.content_type,
        m.created_at
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
    WHERE m.customer_id = COALESCE(
        (SELECT customer_id FROM customer_redirects WHERE absorbed_id = %(customer_id)s), %(customer_id)s
    ) AND m.created_at IS NOT NULL
    ORDER BY m.created_at DESC, m.id DESC LIMIT %(limit)s + 1
"""

CHANNEL_METRICS = """
    SELECT channels.channel,
        count(*) FILTER (WHERE metric_type = 'conversation_count'),
        avg(value) FILTER (WHERE metric_type = 'sentiment'),
        count(*) FILTER (WHERE metric_type = 'escalation'),
        avg(value) FILTER (WHERE metric_type = 'response_latency'),
        round(coalesce(sum(value) FILTER (WHERE metric_type = 'conversation_count'), 0)),
        round(coalesce(sum(value) FILTER (WHERE metric_type = 'escalation'), 0)),
        round(coalesce(sum(value) FILTER (WHERE metric_type = 'message_volume'), 0)),
        round(coalesce(sum(value) FILTER (WHERE metric_type = 'tool_call'), 0))
    FROM (VALUES ('email', 1), ('whatsapp', 2), ('web_form', 3)) AS channels (channel, position)
    LEFT JOIN agent_metrics AS m
        ON m.channel = channels.channel AND recorded_at >= now() - interval '24 hours'
    GROUP BY channels.channel, position ORDER BY position
"""

RECORD = """
    INSERT INTO agent_metrics (id, metric_type, value, channel, metadata)
    VALUES (%(id)s, 'response_latency', %(value)s, 'email', '{}') RETURNING *
"""

LIST_TICKETS = """
    SELECT id, ticket_number, customer_id, conversation_id, subject, status, priority, category,
        source_channel, assigned_to, created_at, resolved_at
    FROM tickets WHERE status = 'open' AND assigned_to = %(assignee)s AND created_at IS NOT NULL
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s + 1
"""

LIFECYCLE = """
    SELECT t.id, t.ticket_number, t.created_at, l.status, l.reopens, l.first_resolved_at,
        CASE WHEN l.status IN ('resolved', 'closed') THEN l.last_resolved_at END,
        l.in_open, l.in_processing, l.in_waiting, l.in_resolved, l.in_escalated, l.in_closed,
        (
            SELECT min(created_at) FROM messages
            WHERE conversation_id = t.conversation_id
                AND created_at BETWEEN t.created_at AND statement_timestamp()
                AND direction = 'outbound' AND role = 'agent'
                AND (metadata @> '{"auto_reply": true}') IS NOT TRUE
        ),
        (SELECT count(*) FROM ticket_field_changes WHERE ticket_id = t.id AND field = 'assigned_to')
    FROM tickets AS t, LATERAL (
        SELECT
            (array_agg(new_status ORDER BY seq DESC))[1] AS status,
            count(*) FILTER (WHERE was_finished AND NOT is_finished) AS reopens,
            min(changed_at) FILTER (WHERE NOT was_finished AND is_finished) AS first_resolved_at,
            max(changed_at) FILTER (WHERE NOT was_finished AND is_finished) AS last_resolved_at,
            COALESCE(sum(span) FILTER (WHERE new_status = 'open'), '0') AS in_open,
            COALESCE(sum(span) FILTER (WHERE new_status = 'processing'), '0') AS in_processing,
            COALESCE(sum(span) FILTER (WHERE new_status = 'waiting'), '0') AS in_waiting,
            COALESCE(sum(span) FILTER (WHERE new_status = 'resolved'), '0') AS in_resolved,
            COALESCE(sum(span) FILTER (WHERE new_status = 'escalated'), '0') AS in_escalated,
            COALESCE(sum(span) FILTER (WHERE new_status = 'closed'), '0') AS in_closed
        FROM (
            SELECT seq, new_status, changed_at,
                old_status IN ('resolved', 'closed') AS was_finished,
                new_status IN ('resolved', 'closed') AS is_finished,
                GREATEST(
                    lead(changed_at, 1, statement_timestamp()) OVER (ORDER BY seq) - changed_at, '0'
                ) AS span
            FROM ticket_status_changes WHERE ticket_id = t.id AND changed_at <= statement_timestamp()
        ) AS entries
    ) AS l
    WHERE t.id = %(ticket_id)s
"""

SEARCH = """
    SELECT id, title, content, category, source, metadata, created_at, updated_at,
        1 - (embedding <=> %(query)b)
    FROM knowledge_base WHERE is_active ORDER BY embedding <=> %(query)b LIMIT %(limit)s
"""

# In the order of their ids, as the services do.
LOCK_BOTH = """
    SELECT id, email, name, phone, company, plan, metadata FROM customers
    WHERE id IN (%(survivor_id)s, %(absorbed_id)s) ORDER BY id FOR UPDATE
"""

MERGE = (
    """
    INSERT INTO customer_merges (id, survivor_id, absorbed_id, actor, reason, absorbed, filled)
    SELECT %(id)s, %(survivor_id)s, %(absorbed_id)s, %(actor)s, %(reason)s, to_jsonb(c), '{}'
    FROM customers AS c WHERE c.id = %(absorbed_id)s
    """,
    "SELECT set_config('crm.keep_updated_at', 'on', true)",
    *(
        f"""
        WITH moved AS (
            UPDATE {table} SET customer_id = %(survivor_id)s WHERE customer_id = %(absorbed_id)s
            RETURNING {key} AS row_id
        )
        INSERT INTO customer_merge_moves (merge_id, table_name, row_id)
        SELECT %(id)s, '{table}', row_id FROM moved
        """
        for table, key in (
            ("customer_identifiers", "id"),
            ("conversations", "id"),
            ("messages", "id"),
            ("tickets", "id"),
            ("customer_redirects", "absorbed_id"),
        )
    ),
    "SELECT set_config('crm.keep_updated_at', '', true)",
    "DELETE FROM customers WHERE id = %(absorbed_id)s",
    """
    INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id)
    VALUES (%(absorbed_id)s, %(survivor_id)s, %(id)s)
    """,
)
