-- What happened to a customer before a place, newest first: of messages, tickets and events of each name that the
-- customer had at most max_rows are read, by the index that has them in this order. The planner may use no other plan:
-- it does not see that one customer has a million messages.
CREATE OR REPLACE FUNCTION customer_timeline(
    customer uuid, before_time timestamptz, before_id uuid, max_rows integer
)
RETURNS TABLE (
    id uuid, created_at timestamptz, kind text, actor text, channel text, conversation_id uuid, ticket_id uuid,
    ticket_number text, text text, direction text, role text, assurance text, internal boolean, field text,
    old_value text, new_value text, event text, other_customer_id uuid, merge_id uuid
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = 'force_generic_plan'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    living uuid := COALESCE(
        (SELECT customer_id FROM customer_redirects WHERE absorbed_id = customer), customer
    );
    names uuid[] := living || ARRAY(SELECT absorbed_id FROM customer_redirects WHERE customer_id = living);
    at_time timestamptz := COALESCE(before_time, 'infinity');
    at_id uuid := COALESCE(before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
BEGIN
    RETURN QUERY
    SELECT * FROM (
        (
            SELECT m.id, m.created_at, 'message'::text AS kind, m.metadata ->> 'actor' AS actor,
                m.channel::text AS channel, m.conversation_id, NULL::uuid AS ticket_id,
                NULL::text AS ticket_number, m.content AS text, m.direction::text AS direction,
                m.role::text AS role,
                CASE WHEN m.metadata ->> 'assurance' IN ('verified', 'claimed')
                    THEN m.metadata ->> 'assurance' END AS assurance,
                COALESCE(m.metadata ? 'internal', false) AS internal, NULL::text AS field,
                NULL::text AS old_value, NULL::text AS new_value, NULL::text AS event,
                NULL::uuid AS other_customer_id, NULL::uuid AS merge_id
            FROM messages AS m
            WHERE m.customer_id = living AND (m.created_at, m.id) < (at_time, at_id)
            ORDER BY m.created_at DESC, m.id DESC LIMIT max_rows
        )
        UNION ALL
        (
            SELECT t.id, t.created_at, 'ticket', (
                    SELECT changed_by FROM ticket_status_changes AS opening WHERE opening.ticket_id = t.id
                    ORDER BY opening.seq LIMIT 1
                ), t.source_channel, t.conversation_id, t.id, t.ticket_number, t.subject, NULL, NULL, NULL, false,
                NULL, NULL, NULL, NULL, NULL, NULL
            FROM tickets AS t
            WHERE t.customer_id = living AND (t.created_at, t.id) < (at_time, at_id)
            ORDER BY t.created_at DESC, t.id DESC LIMIT max_rows
        )
        UNION ALL
        (
            -- The first entry of a ticket's record is its opening.
            SELECT entry.id, entry.changed_at, 'status_change', entry.changed_by, t.source_channel,
                t.conversation_id, t.id, t.ticket_number, entry.comment, NULL, NULL, NULL, false, 'status',
                entry.old_status, entry.new_status, NULL, NULL, NULL
            FROM tickets AS t JOIN ticket_status_changes AS entry ON entry.ticket_id = t.id
            WHERE t.customer_id = living AND entry.old_status IS NOT NULL
                AND (entry.changed_at, entry.id) < (at_time, at_id)
            ORDER BY entry.changed_at DESC, entry.id DESC LIMIT max_rows
        )
        UNION ALL
        (
            SELECT entry.id, entry.changed_at, 'field_change', entry.changed_by, t.source_channel,
                t.conversation_id, t.id, t.ticket_number, entry.comment, NULL, NULL, NULL, false, entry.field,
                entry.old_value, entry.new_value, NULL, NULL, NULL
            FROM tickets AS t JOIN ticket_field_changes AS entry ON entry.ticket_id = t.id
            WHERE t.customer_id = living AND (entry.changed_at, entry.id) < (at_time, at_id)
            ORDER BY entry.changed_at DESC, entry.id DESC LIMIT max_rows
        )
        UNION ALL
        (
            SELECT e.id, e.created_at,
                CASE WHEN e.event IN ('merged', 'unmerged') THEN 'merge' ELSE 'identity_event' END, e.actor, NULL,
                NULL, NULL, NULL, e.reason, NULL, NULL, NULL, false, NULL, NULL, NULL, e.event,
                e.other_customer_id, e.merge_id
            FROM unnest(names) AS name
            CROSS JOIN LATERAL (
                (
                    SELECT * FROM identity_events AS own
                    WHERE own.customer_id = name AND (own.created_at, own.id) < (at_time, at_id)
                    ORDER BY own.created_at DESC, own.id DESC LIMIT max_rows
                )
                UNION ALL
                (
                    SELECT * FROM identity_events AS another
                    WHERE another.other_customer_id = name AND another.customer_id <> ALL (names)
                        AND (another.created_at, another.id) < (at_time, at_id)
                    ORDER BY another.created_at DESC, another.id DESC LIMIT max_rows
                )
            ) AS e
        )
    ) AS entries
    ORDER BY created_at DESC, id DESC LIMIT max_rows;
END;
$$;
