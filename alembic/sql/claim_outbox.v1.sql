-- Messages that are due, for one sender until the lease ends, each with all that it takes to send it.
--
-- Of a conversation only the first, and nothing while a sender has another one of it: answers arrive in their
-- order, and those behind wait until it is sent or given up. A channel that is switched off keeps its messages.
-- A form's answer goes by mail from forms_from, if that is given. A mail's id is known before it leaves: its
-- answer and its bounce find it, also where nobody lives to say that it was sent.
CREATE OR REPLACE FUNCTION claim_outbox(
    only_channel text, only_account text, forms_from text, max_rows integer, lease interval,
    max_references integer DEFAULT 20
)
RETURNS TABLE (
    message_id uuid, conversation_id uuid, customer_id uuid, channel text, account text, identifier_type text,
    address text, to_name text, group_id text, own_id text, content text, content_type text,
    created_at timestamptz, attachments jsonb, auto_reply boolean, subject text, is_answer boolean,
    in_reply_to text, window_open boolean, earlier_ids text[], attempts integer
)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    candidate record;
    at_time timestamptz := clock_timestamp();
    free_ones uuid[] := '{}';
BEGIN
    -- In the order of an index, until there are enough. Only the first of a conversation looks for its route:
    -- OFFSET 0 keeps these looks apart, and before it. With an interval added, a time is no reason to read the
    -- index of times where a conversation is meant.
    FOR candidate IN
        SELECT o.message_id, o.conversation_id
        FROM outbox AS o CROSS JOIN LATERAL delivery_route(o.conversation_id, forms_from) AS r
        WHERE o.due_at <= at_time
            AND NOT EXISTS (
                SELECT FROM outbox AS other
                WHERE other.conversation_id = o.conversation_id
                    AND (other.queued_at, other.message_id) < (o.queued_at, o.message_id)
                OFFSET 0
            )
            AND NOT EXISTS (
                SELECT FROM outbox AS other
                WHERE other.conversation_id = o.conversation_id AND other.with_sender
                    AND other.due_at + interval '0' > at_time
                OFFSET 0
            )
            AND (only_channel IS NULL OR r.by_channel = only_channel)
            AND (
                only_account IS NULL
                -- Mailboxes and forms are alike in any letter case, and stored in small letters.
                OR r.by_account = CASE r.by_channel WHEN 'whatsapp' THEN only_account ELSE lower(only_account) END
            )
        ORDER BY o.due_at, o.queued_at, o.message_id
    LOOP
        -- The next statement sees what the last holder of the conversation has committed.
        IF pg_try_advisory_xact_lock(hashtextextended('crm/outbox/' || candidate.conversation_id, 0)) THEN
            free_ones := free_ones || candidate.conversation_id;
            EXIT WHEN cardinality(free_ones) >= max_rows;
        END IF;
    END LOOP;
    RETURN QUERY
    WITH due AS (
        SELECT o.message_id, r.*, CASE WHEN r.by_channel = 'email' THEN '<' || o.message_id || '@' || CASE
            -- A mail's id is ASCII, also where its sender's domain is not.
            WHEN split_part(r.by_account, '@', 2) ~ '^[A-Za-z0-9.-]+$' THEN split_part(r.by_account, '@', 2)
            ELSE 'mail.invalid' END || '>' END AS own_id
        FROM unnest(free_ones) AS free (conversation) CROSS JOIN LATERAL (
            SELECT first.message_id, first.conversation_id FROM outbox AS first
            WHERE first.conversation_id = free.conversation AND first.due_at + interval '0' <= at_time
                AND NOT EXISTS (
                    SELECT FROM outbox AS other
                    WHERE other.conversation_id = first.conversation_id
                        AND (other.queued_at, other.message_id) < (first.queued_at, first.message_id)
                    OFFSET 0
                )
                AND NOT EXISTS (
                    SELECT FROM outbox AS other
                    WHERE other.conversation_id = first.conversation_id AND other.with_sender
                        AND other.due_at + interval '0' > at_time
                    OFFSET 0
                )
            ORDER BY first.queued_at, first.message_id
            FOR UPDATE SKIP LOCKED
        ) AS o CROSS JOIN LATERAL delivery_route(o.conversation_id, forms_from) AS r
    ), claimed AS (
        UPDATE outbox SET due_at = clock_timestamp() + lease, attempts = attempts + 1, with_sender = true,
            channel = due.by_channel, account = due.by_account
        FROM due WHERE outbox.message_id = due.message_id
        RETURNING due.*, outbox.attempts, outbox.queued_at
    ), own AS (
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT by_channel, by_account, own_id, message_id FROM due WHERE own_id IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    SELECT m.id AS message_id, m.conversation_id, m.customer_id, claimed.by_channel, claimed.by_account,
        claimed.identifier_type, claimed.address,
        CASE WHEN COALESCE(answered.metadata ->> 'assurance', 'verified') = 'verified'
            THEN customer.name::text ELSE answered.metadata #>> '{profile,name}' END AS to_name,
        claimed.group_id, claimed.own_id, m.content, m.content_type::text, m.created_at,
        COALESCE(m.metadata -> 'attachments', '[]') AS attachments,
        COALESCE(m.metadata @> '{"auto_reply": true}', false) AS auto_reply,
        COALESCE(m.metadata ->> 'subject', answered.metadata ->> 'subject', c.metadata ->> 'subject')
            AS subject,
        m.metadata ->> 'subject' IS NULL AND answered.id IS NOT NULL AS is_answer,
        CASE WHEN answered.channel = claimed.by_channel THEN answered.metadata ->> 'provider_message_id' END
            AS in_reply_to,
        window_end(m.conversation_id) > clock_timestamp() AS window_open,
        earlier.ids AS earlier_ids, claimed.attempts
    FROM claimed
    CROSS JOIN LATERAL (SELECT * FROM messages WHERE id = claimed.message_id OFFSET 0) AS m
    CROSS JOIN LATERAL (SELECT * FROM conversations WHERE id = m.conversation_id OFFSET 0) AS c
    CROSS JOIN LATERAL (SELECT * FROM customers WHERE id = m.customer_id OFFSET 0) AS customer
    LEFT JOIN LATERAL (
        SELECT i.id, i.channel, i.metadata FROM messages AS i
        WHERE i.conversation_id = m.conversation_id AND i.direction = 'inbound'
            AND i.created_at <= m.created_at AND NOT COALESCE(i.metadata ? 'event', false)
        ORDER BY i.created_at DESC, i.id DESC LIMIT 1
    ) AS answered ON true
    CROSS JOIN LATERAL (
        SELECT array_agg(id ORDER BY created_at) AS ids FROM (
            SELECT COALESCE(e.metadata ->> 'provider_message_id', p.provider_message_id) AS id, e.created_at
            FROM messages AS e JOIN provider_messages AS p ON p.message_id = e.id
            WHERE e.conversation_id = m.conversation_id AND p.channel = claimed.by_channel AND e.id <> m.id
                AND e.created_at <= m.created_at
            ORDER BY e.created_at DESC LIMIT max_references
        ) AS named
    ) AS earlier
    ORDER BY claimed.queued_at, m.id;
END;
$$;
