-- What a person and we wrote to each other, and where it went; how many rows, by table. What statistics count
-- stays: times, codes, and the marks of messages that are no answers.
CREATE OR REPLACE FUNCTION erase_words(
    conversation_ids uuid[], message_ids uuid[], ticket_ids uuid[], types text[], addresses text[]
)
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    counts jsonb;
BEGIN
    WITH unsent AS (
        DELETE FROM outbox WHERE message_id = ANY (message_ids) RETURNING 1
    ), names AS (
        DELETE FROM provider_messages WHERE message_id = ANY (message_ids) RETURNING 1
    ), reports AS (
        DELETE FROM early_delivery_reports AS report
        WHERE EXISTS (
            SELECT FROM provider_messages AS p
            WHERE p.channel = report.channel AND p.account = report.account
                AND p.provider_message_id = report.provider_message_id AND p.message_id = ANY (message_ids)
        ) OR names_anybody(concat_ws(' ', provider_message_id, recipient, code, reason), '{}', addresses)
        RETURNING 1
    ), routes AS (
        -- Two looks by an index each: with OR between them, all routes would be read for every batch.
        DELETE FROM conversation_routes WHERE id IN (
            SELECT id FROM conversation_routes WHERE conversation_id = ANY (conversation_ids)
            UNION
            SELECT route.id FROM unnest(types, addresses) AS of (type, address)
            CROSS JOIN LATERAL (
                SELECT id FROM conversation_routes
                WHERE identifier_type = of.type AND identifier_value = of.address OFFSET 0
            ) AS route
        )
        RETURNING 1
    ), written AS (
        UPDATE messages SET
            content = '',
            delivery_status = CASE
                WHEN direction = 'outbound' AND delivery_status = 'pending' THEN 'failed' ELSE delivery_status
            END,
            metadata = jsonb_build_object('erased', true) || COALESCE((
                SELECT jsonb_object_agg(fact.key, fact.value)
                FROM jsonb_each(CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END) AS fact
                WHERE fact.key IN ('auto_reply', 'internal', 'archived') AND fact.value = 'true'
                    OR fact.key = 'event' AND fact.value #>> '{}' IN (
                        'reaction', 'edit', 'revoke', 'receipt', 'delivery', 'calendar', 'identity'
                    )
                    OR fact.key = 'assurance' AND fact.value #>> '{}' IN ('verified', 'claimed')
                    OR fact.key = 'outcome' AND fact.value #>> '{}' IN ('matched', 'created', 'conflict')
            ), '{}')
        WHERE id = ANY (message_ids) RETURNING 1
    ), talks AS (
        UPDATE conversations SET metadata = '{"erased": true}', escalation_reason = NULL
        WHERE id = ANY (conversation_ids) RETURNING 1
    ), cases AS (
        UPDATE tickets SET
            subject = '[erased]', escalation_reason = NULL, resolution_notes = NULL, metadata = '{"erased": true}'
        WHERE id = ANY (ticket_ids) RETURNING 1
    ), calls AS (
        DELETE FROM tool_calls WHERE conversation_id = ANY (conversation_ids) RETURNING 1
    ), links AS (
        UPDATE ticket_links SET created_by = 'customer:erased'
        WHERE (ticket_id = ANY (ticket_ids) OR follows_ticket_id = ANY (ticket_ids))
            AND NOT is_plain_actor(created_by)
        RETURNING 1
    )
    SELECT jsonb_build_object(
        'outbox', (SELECT count(*) FROM unsent), 'provider_messages', (SELECT count(*) FROM names),
        'early_delivery_reports', (SELECT count(*) FROM reports),
        'conversation_routes', (SELECT count(*) FROM routes), 'messages', (SELECT count(*) FROM written),
        'conversations', (SELECT count(*) FROM talks), 'tickets', (SELECT count(*) FROM cases),
        'tool_calls', (SELECT count(*) FROM calls), 'ticket_links', (SELECT count(*) FROM links)
    )
    INTO counts;
    RETURN counts;
END;
$$;
