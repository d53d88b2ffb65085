-- What an AI resolved and was reopened or followed up within a time, the latest return first.
--
-- Both halves walk back from the latest return, by its index, and look for the resolution before it: no more
-- returns are read than it takes to fill the list. The planner may use no other plan: where its statistics are older
-- than the returns, it would read and sort all of them. A remark (old and new status are the same) is no resolution.
CREATE OR REPLACE FUNCTION ticket_regressions(within interval, max_rows integer)
RETURNS TABLE (
    ticket_id uuid, ticket_number text, resolved_by text, resolved_at timestamptz, kind text,
    came_back_at timestamptz, came_back_by text, follow_up_id uuid
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
BEGIN
    RETURN QUERY
    SELECT back.ticket_id, ticket.ticket_number::text, back.resolved_by::text, back.resolved_at, back.kind,
        back.came_back_at, back.came_back_by::text, back.follow_up_id
    FROM (
        (
            SELECT came_back.ticket_id, resolution.changed_by AS resolved_by,
                resolution.changed_at AS resolved_at, 'reopened' AS kind, came_back.changed_at AS came_back_at,
                came_back.changed_by AS came_back_by, NULL::uuid AS follow_up_id
            FROM ticket_status_changes AS came_back
            CROSS JOIN LATERAL (
                SELECT entry.changed_by, entry.changed_at FROM ticket_status_changes AS entry
                WHERE entry.ticket_id = came_back.ticket_id AND entry.seq < came_back.seq
                    AND entry.new_status = 'resolved' AND entry.old_status IS DISTINCT FROM 'resolved'
                    AND NOT EXISTS (
                        SELECT FROM ticket_status_changes AS between_them
                        WHERE between_them.ticket_id = came_back.ticket_id AND between_them.seq > entry.seq
                            AND between_them.seq < came_back.seq
                            AND between_them.new_status NOT IN ('resolved', 'closed')
                    )
                OFFSET 0
            ) AS resolution
            WHERE came_back.old_status IN ('resolved', 'closed')
                AND came_back.new_status NOT IN ('resolved', 'closed')
                AND resolution.changed_by LIKE 'ai:%'
                AND came_back.changed_at <= resolution.changed_at + within
            ORDER BY came_back.changed_at DESC, came_back.ticket_id DESC LIMIT max_rows
        )
        UNION ALL
        (
            SELECT link.follows_ticket_id, resolution.changed_by, resolution.changed_at, 'followed_up',
                link.created_at, link.created_by, link.ticket_id
            FROM ticket_links AS link
            CROSS JOIN LATERAL (
                SELECT entry.changed_by, entry.changed_at FROM ticket_status_changes AS entry
                WHERE entry.ticket_id = link.follows_ticket_id AND entry.changed_at <= link.created_at
                    AND entry.new_status = 'resolved' AND entry.old_status IS DISTINCT FROM 'resolved'
                ORDER BY entry.seq DESC LIMIT 1
            ) AS resolution
            WHERE resolution.changed_by LIKE 'ai:%' AND link.created_at <= resolution.changed_at + within
            ORDER BY link.created_at DESC, link.follows_ticket_id DESC LIMIT max_rows
        )
    ) AS back
    CROSS JOIN LATERAL (SELECT t.ticket_number FROM tickets AS t WHERE t.id = back.ticket_id OFFSET 0) AS ticket
    ORDER BY came_back_at DESC, back.ticket_id DESC LIMIT max_rows;
END;
$$;
