-- What was written before a time loses its words, as in an erasure: the oldest of those after a place, in order.
-- Nobody's who is under a legal hold. Reports that found no message go whole: by then none will be theirs.
CREATE OR REPLACE FUNCTION erase_old_messages(
    before timestamptz, max_rows integer, after_time timestamptz DEFAULT NULL, after_id uuid DEFAULT NULL
)
RETURNS TABLE (message_count bigint, last_time timestamptz, last_id uuid, report_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    message_ids uuid[];
BEGIN
    SELECT array_agg(batch.id), count(*), max(batch.created_at),
        (array_agg(batch.id ORDER BY batch.created_at DESC, batch.id DESC))[1]
    INTO message_ids, message_count, last_time, last_id
    FROM (
        SELECT old.id, old.created_at
        FROM unnest(ARRAY['email', 'whatsapp', 'web_form']) AS of (channel)
        CROSS JOIN LATERAL (
            SELECT m.id, m.created_at FROM messages AS m
            WHERE m.channel = of.channel AND m.created_at < before
                AND (m.created_at, m.id) > (
                    COALESCE(after_time, '-infinity'),
                    COALESCE(after_id, '00000000-0000-0000-0000-000000000000')
                )
                AND NOT COALESCE(m.content = '' AND m.metadata @> '{"erased": true}', false)
                AND NOT EXISTS (
                    SELECT FROM legal_holds AS hold
                    LEFT JOIN customer_redirects AS living ON living.absorbed_id = hold.customer_id
                    WHERE hold.released_at IS NULL
                        AND COALESCE(living.customer_id, hold.customer_id) = m.customer_id
                )
            ORDER BY m.created_at, m.id LIMIT max_rows
        ) AS old
        ORDER BY old.created_at, old.id LIMIT max_rows
    ) AS batch;
    IF message_count > 0 THEN
        PERFORM erase_words('{}', message_ids, '{}', '{}', '{}');
    END IF;
    DELETE FROM early_delivery_reports WHERE id IN (
        SELECT report.id FROM early_delivery_reports AS report WHERE report.received_at < before
        ORDER BY report.received_at LIMIT max_rows
    );
    GET DIAGNOSTICS report_count = ROW_COUNT;
    RETURN NEXT;
END;
$$;
REVOKE ALL ON FUNCTION erase_old_messages(timestamptz, integer, timestamptz, uuid) FROM PUBLIC;
