-- One JSON document of everything about a customer: the scope of an erasure, as it is now.
SELECT jsonb_build_object(
    'exported_at', clock_timestamp(),
    'customer_id', c.id,
    'absorbed_ids', to_jsonb(array_remove(scope.customer_ids, c.id)),
    'erased_at', (SELECT erased_at FROM erasures WHERE customer_id = c.id),
    'is_held', EXISTS (
        SELECT FROM legal_holds WHERE customer_id = ANY (scope.customer_ids) AND released_at IS NULL
    ),
    'holds', COALESCE((
        SELECT jsonb_agg(to_jsonb(h) ORDER BY h.held_at, h.id)
        FROM legal_holds AS h WHERE h.customer_id = ANY (scope.customer_ids)
    ), '[]'),
    'identifiers', COALESCE((
        SELECT jsonb_agg(to_jsonb(i) ORDER BY i.created_at, i.id)
        FROM customer_identifiers AS i WHERE i.customer_id = c.id
    ), '[]'),
    'conversations', COALESCE((
        SELECT jsonb_agg(to_jsonb(v) || jsonb_build_object(
            'is_others', v.id <> ALL (scope.conversation_ids),
            'routes', COALESCE((
                SELECT jsonb_agg(to_jsonb(r) ORDER BY r.created_at, r.id) FROM conversation_routes AS r
                WHERE r.conversation_id = v.id AND (
                    v.id = ANY (scope.conversation_ids)
                    OR (r.identifier_type, r.identifier_value) IN (
                        SELECT * FROM unnest(scope.types, scope.addresses)
                    )
                )
            ), '[]')
        ) || CASE
            WHEN v.id = ANY (scope.conversation_ids) THEN '{}'
            ELSE '{"metadata": null, "escalation_reason": null}'::jsonb
        END ORDER BY v.created_at, v.id)
        FROM conversations AS v
        WHERE v.id = ANY (scope.conversation_ids)
            OR v.id IN (SELECT conversation_id FROM messages WHERE id = ANY (scope.message_ids))
            OR v.id IN (
                SELECT r.conversation_id FROM unnest(scope.types, scope.addresses) AS own (type, value)
                JOIN conversation_routes AS r
                    ON r.identifier_type = own.type AND r.identifier_value = own.value
            )
    ), '[]'),
    'messages', COALESCE((
        SELECT jsonb_agg(to_jsonb(m) || jsonb_build_object('sent_from', (
            SELECT o.account FROM outbox AS o WHERE o.message_id = m.id
        ), 'provider_message_ids', COALESCE((
            SELECT jsonb_agg(p.provider_message_id ORDER BY p.recorded_at, p.provider_message_id)
            FROM provider_messages AS p WHERE p.message_id = m.id
        ), '[]')) ORDER BY m.created_at, m.id)
        FROM messages AS m WHERE m.id = ANY (scope.message_ids)
    ), '[]'),
    'tickets', COALESCE((
        SELECT jsonb_agg(to_jsonb(t) || jsonb_build_object(
            'record', COALESCE((
                SELECT jsonb_agg(to_jsonb(entry) ORDER BY entry.changed_at, entry.seq)
                FROM (
                    SELECT 'status' AS field, old_status AS old_value, new_status AS new_value, changed_by,
                        changed_at, comment, seq
                    FROM ticket_status_changes WHERE ticket_id = t.id
                    UNION ALL
                    SELECT field, old_value, new_value, changed_by, changed_at, comment, seq
                    FROM ticket_field_changes WHERE ticket_id = t.id
                ) AS entry
            ), '[]'),
            'follows', COALESCE((
                SELECT jsonb_agg(l.follows_ticket_id) FROM ticket_links AS l WHERE l.ticket_id = t.id
            ), '[]'),
            'links_made_by', COALESCE((
                SELECT jsonb_agg(l.created_by) FROM ticket_links AS l
                WHERE l.ticket_id = t.id OR l.follows_ticket_id = t.id
            ), '[]')
        ) ORDER BY t.created_at, t.id)
        FROM tickets AS t WHERE t.id = ANY (scope.ticket_ids)
    ), '[]'),
    'decisions', COALESCE((
        SELECT jsonb_agg(to_jsonb(e) ORDER BY e.seq) FROM identity_events AS e
        WHERE e.customer_id = ANY (scope.customer_ids) OR e.other_customer_id = ANY (scope.customer_ids)
    ), '[]'),
    'merges', COALESCE((
        SELECT jsonb_agg(to_jsonb(g) || jsonb_build_object('other_applications_rows', COALESCE((
            SELECT jsonb_agg(f.row_key ORDER BY f.id) FROM customer_merge_foreign_moves AS f
            WHERE f.merge_id = g.id
        ), '[]')) || CASE
            WHEN g.absorbed_id = ANY (scope.customer_ids) THEN '{}'
            ELSE '{"absorbed": null, "filled": null, "other_applications_rows": []}'::jsonb
        END ORDER BY g.seq)
        FROM customer_merges AS g
        WHERE g.absorbed_id = ANY (scope.customer_ids) OR g.survivor_id = ANY (scope.customer_ids)
    ), '[]'),
    'measurements', COALESCE((
        SELECT jsonb_agg(to_jsonb(a) ORDER BY a.recorded_at, a.id) FROM agent_metrics AS a
        WHERE facts_name_customer(
            a.metadata,
            scope.customer_ids || scope.conversation_ids || scope.message_ids || scope.ticket_ids,
            scope.addresses
        )
    ), '[]'),
    'tool_calls', COALESCE((
        SELECT jsonb_agg(to_jsonb(call) ORDER BY call.called_at, call.idempotency_key) FROM tool_calls AS call
        WHERE call.conversation_id = ANY (scope.conversation_ids)
    ), '[]'),
    'delivery_reports', COALESCE((
        SELECT jsonb_agg(to_jsonb(d) ORDER BY d.received_at, d.id) FROM early_delivery_reports AS d
        WHERE names_anybody(concat_ws(' ', d.provider_message_id, d.recipient, d.code, d.reason), '{}', scope.addresses)
            OR EXISTS (
                SELECT FROM provider_messages AS p
                WHERE p.channel = d.channel AND p.account = d.account
                    AND p.provider_message_id = d.provider_message_id
                    AND p.message_id = ANY (scope.message_ids)
            )
    ), '[]')
) || (to_jsonb(c) - 'id')
FROM customers AS c CROSS JOIN LATERAL customer_scope(c.id) AS scope
WHERE c.id = :customer_id
