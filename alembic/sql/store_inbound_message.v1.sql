-- One message of a customer: exactly once, in the conversation that it belongs to.
--
-- Its provider's id is written first (claim), so that a second delivery waits there; then the customer's row is
-- locked, so that messages which arrive together share a conversation. Each look comes after the lock.
-- Without a customer_id, the writer is a new person, or whoever has proven the one address that it tells.
-- The outcome is stored; duplicate; nowhere, for an event about a message that is not here; or it says that
-- only the claim was written, and why: customer_gone or customer_erased (merged or erased since), taken (a new
-- person's address is somebody's by now), unknown (nobody has a row for the address), unsettled (for
-- identity.resolve to decide). The table of erasures is of revision 0012.
CREATE OR REPLACE FUNCTION store_inbound_message(message jsonb)
RETURNS TABLE (outcome text, customer_id uuid, conversation_id uuid, opened boolean, tickets jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    m record;
    place record;
    home_id uuid;
    answers uuid;
    came_at timestamptz;
BEGIN
    SELECT * INTO m FROM jsonb_to_record(message) AS r (
        id uuid, customer_id uuid, person jsonb, sender_type text, sender_other_type text, sender_address text,
        proves boolean, tells_name boolean, tells_company boolean, new_conversation_id uuid, channel text,
        account text, accounts text[], provider_message_id text, claim boolean,
        "references" text[], thread_id text, group_id text,
        identifiers jsonb, mailbox text, canonical text, is_event boolean, may_reopen boolean,
        may_wake boolean, idle_after interval, role text, content text, content_type text, extra jsonb,
        created_at timestamptz
    );
    opened := false;
    tickets := '[]';
    IF m.claim AND NOT m.is_event THEN
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT m.channel, m.account, m.provider_message_id, m.id
        WHERE m.channel <> 'email' OR NOT EXISTS (
            -- A copy of a mail of ours that comes back, also of one that another account of the desk has sent.
            SELECT FROM unnest(m.accounts) AS own (account)
            CROSS JOIN LATERAL (
                SELECT message_id FROM provider_messages
                WHERE channel = m.channel AND account = own.account AND provider_message_id = m.provider_message_id
                OFFSET 0
            ) AS named
            CROSS JOIN LATERAL (
                SELECT FROM messages WHERE id = named.message_id AND direction = 'outbound' OFFSET 0
            ) AS ours
        ) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            outcome := 'duplicate';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    outcome := NULL;
    IF m.person IS NOT NULL THEN
        m.customer_id := m.person #>> '{customer,id}';
        IF NOT create_customer(m.person) THEN
            outcome := 'taken';
        END IF;
    ELSIF m.customer_id IS NOT NULL THEN
        PERFORM FROM customers WHERE id = m.customer_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            outcome := 'customer_gone';
        END IF;
    ELSE
        SELECT held.customer_id INTO m.customer_id FROM customer_identifiers AS held
        WHERE held.identifier_type IN (m.sender_type, m.sender_other_type)
            AND held.identifier_value = m.sender_address
        LIMIT 1;
        IF NOT FOUND THEN
            outcome := 'unknown';
        ELSE
            -- All of the address is proven and one customer's, and no blank of the profile can be filled.
            PERFORM FROM customers AS c
            WHERE c.id = m.customer_id AND NOT EXISTS (
                SELECT FROM customer_identifiers AS held
                WHERE held.identifier_type IN (m.sender_type, m.sender_other_type)
                    AND held.identifier_value = m.sender_address
                    AND (held.verified IS NOT TRUE OR held.customer_id <> m.customer_id)
            ) AND NOT (
                m.proves AND (m.tells_name AND c.name IS NULL OR m.tells_company AND c.company IS NULL)
            )
            FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                outcome := 'unsettled';
            END IF;
        END IF;
    END IF;
    IF outcome IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    ELSIF EXISTS (SELECT FROM erasures WHERE erasures.customer_id = m.customer_id) THEN
        outcome := 'customer_erased';
        RETURN NEXT;
        RETURN;
    END IF;

    -- What it answers, nearest first; then its thread; then the open conversation on its writer's address.
    -- OFFSET 0 keeps each look to a key: a plan of a time when the tables were small would read all of them.
    SELECT c.id, c.status INTO place
    FROM (
        SELECT earlier.conversation_id, 1 AS way, r.nearness
        FROM unnest(m."references") WITH ORDINALITY AS r (id, nearness)
        CROSS JOIN unnest(m.accounts) AS own (account)
        CROSS JOIN LATERAL (
            SELECT message_id FROM provider_messages
            WHERE channel = m.channel AND account = own.account AND provider_message_id = r.id OFFSET 0
        ) AS named
        CROSS JOIN LATERAL (
            SELECT conversation_id FROM messages WHERE id = named.message_id OFFSET 0
        ) AS earlier
        UNION ALL
        SELECT route.conversation_id, 2, 0 FROM conversation_routes AS route
        WHERE route.channel = m.channel AND route.account = ANY (m.accounts) AND route.thread_id = m.thread_id
        UNION ALL
        SELECT active.id, 3, 0 FROM conversations AS active
        WHERE active.customer_id = m.customer_id
            AND m.thread_id IS NULL
            AND (active.status IN ('active', 'escalated') OR active.status IS NULL)
            AND (
                m.idle_after IS NULL
                OR (SELECT max(created_at) FROM messages WHERE conversation_id = active.id)
                    >= clock_timestamp() - m.idle_after
            )
            AND EXISTS (
                SELECT FROM conversation_routes AS route
                JOIN jsonb_to_recordset(m.identifiers) AS i (type text, value text)
                    ON route.identifier_type = i.type AND route.identifier_value = i.value
                WHERE route.conversation_id = active.id AND route.channel = m.channel
                    AND route.account = ANY (m.accounts) OFFSET 0
            )
    ) AS candidate
    CROSS JOIN LATERAL (
        SELECT id, customer_id, status, created_at FROM conversations
        WHERE id = candidate.conversation_id OFFSET 0
    ) AS c
    WHERE c.customer_id = m.customer_id
        -- Neither into a group from outside, nor the other way; and whose address only looks like the one of
        -- the conversation does not get its answers.
        AND NOT EXISTS (
            SELECT FROM conversation_routes AS route
            WHERE route.conversation_id = c.id AND (
                route.group_id IS DISTINCT FROM m.group_id
                OR route.identifier_type = 'email' AND route.identifier_value <> m.mailbox
                    AND lower(normalize(route.identifier_value, NFKC)) = m.canonical
            ) OFFSET 0
        )
    ORDER BY candidate.way, candidate.nearness, c.created_at DESC, c.id DESC
    LIMIT 1;

    IF place.id IS NULL AND m.is_event THEN
        outcome := 'nowhere';
        RETURN NEXT;
        RETURN;
    END IF;
    IF m.claim AND m.is_event THEN
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        VALUES (m.channel, m.account, m.provider_message_id, m.id) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            outcome := 'duplicate';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    home_id := COALESCE(place.id, m.new_conversation_id);
    IF place.id IS NULL THEN
        opened := true;
        INSERT INTO conversations (id, customer_id, channel, created_at)
        VALUES (home_id, m.customer_id, m.channel, LEAST(m.created_at, now()));
        -- Somebody else's message that it answers lets nobody in: it is only named.
        SELECT earlier.conversation_id INTO answers
        FROM unnest(m."references") WITH ORDINALITY AS r (id, nearness)
        CROSS JOIN unnest(m.accounts) AS own (account)
        CROSS JOIN LATERAL (
            SELECT message_id FROM provider_messages
            WHERE channel = m.channel AND account = own.account AND provider_message_id = r.id OFFSET 0
        ) AS named
        CROSS JOIN LATERAL (
            SELECT conversation_id FROM messages WHERE id = named.message_id OFFSET 0
        ) AS earlier
        ORDER BY r.nearness LIMIT 1;
    ELSIF place.status = 'closed' AND m.may_reopen THEN
        UPDATE conversations SET status = 'active', closed_at = NULL, resolution_type = NULL
        WHERE id = home_id AND status = 'closed';
    END IF;

    IF NOT m.is_event THEN
        -- Read once: between two rows the clock goes on, and the first address is where answers go.
        came_at := LEAST(m.created_at, clock_timestamp());
        INSERT INTO conversation_routes (
            conversation_id, channel, account, identifier_type, identifier_value, address, thread_id, group_id,
            used_at
        )
        SELECT home_id, m.channel, m.account, i.type, i.value, i.address, m.thread_id, m.group_id,
            came_at - i.rank * interval '1 microsecond'
        FROM jsonb_to_recordset(m.identifiers) AS i (rank integer, type text, value text, address text)
        WHERE NOT EXISTS (
            SELECT FROM conversation_routes AS route
            WHERE route.conversation_id = home_id AND route.channel = m.channel
                AND route.account = m.account AND route.identifier_type = i.type
                AND route.identifier_value = i.value AND route.thread_id IS NOT DISTINCT FROM m.thread_id
            OFFSET 0
        );
        IF NOT FOUND THEN
            -- Answers go to the route of the last message, where there are several.
            UPDATE conversation_routes AS route SET used_at = came_at
            WHERE route.conversation_id = home_id AND route.channel = m.channel AND route.account = m.account
                AND route.identifier_type = m.identifiers #>> '{0,type}'
                AND route.identifier_value = m.mailbox AND route.thread_id IS NOT DISTINCT FROM m.thread_id
                AND route.used_at < came_at AND EXISTS (
                    SELECT FROM conversation_routes AS later
                    WHERE later.conversation_id = home_id AND later.used_at > route.used_at
                );
        END IF;
    END IF;
    INSERT INTO messages (
        id, conversation_id, customer_id, channel, direction, role, content, content_type, delivery_status,
        metadata, created_at
    ) VALUES (
        m.id, home_id, m.customer_id, m.channel, 'inbound', m.role, m.content, m.content_type,
        'delivered',
        CASE WHEN answers IS NULL THEN m.extra ELSE m.extra || jsonb_build_object('answers', answers) END,
        LEAST(m.created_at, clock_timestamp())
    );
    IF NOT opened THEN
        -- Locked before they are read: who moves one at this moment has done so when the message is stored.
        IF m.may_wake THEN
            PERFORM FROM tickets AS t WHERE t.conversation_id = home_id
            ORDER BY t.id FOR NO KEY UPDATE;
        END IF;
        SELECT COALESCE(jsonb_agg(jsonb_build_array(t.id, t.status) ORDER BY t.created_at, t.id), '[]')
        INTO tickets FROM tickets AS t WHERE t.conversation_id = home_id;
    END IF;
    outcome := 'stored';
    customer_id := m.customer_id;
    conversation_id := home_id;
    RETURN NEXT;
END;
$$;
