-- Words out of the record of tickets. Their salted hash takes their place, so that the chain still holds.
CREATE OR REPLACE FUNCTION erase_record_words(erasure_id uuid, ticket_ids uuid[])
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    counts jsonb;
BEGIN
    WITH statuses AS (
        UPDATE ticket_status_changes AS entry SET
            words_hash = record_words_hash(salt, changed_by, ARRAY[comment]), salt = NULL, comment = NULL,
            changed_by = CASE WHEN is_plain_actor(changed_by) THEN changed_by ELSE 'customer:erased' END,
            erasure_id = erase_record_words.erasure_id
        WHERE ticket_id = ANY (ticket_ids) AND salt IS NOT NULL
            AND (comment IS NOT NULL OR NOT is_plain_actor(changed_by))
        RETURNING 1
    ), fields AS (
        UPDATE ticket_field_changes AS entry SET
            words_hash = record_words_hash(salt, changed_by, ARRAY[
                comment, CASE field WHEN 'metadata' THEN old_value END,
                CASE field WHEN 'metadata' THEN new_value END
            ]),
            salt = NULL, comment = NULL,
            old_value = CASE WHEN field <> 'metadata' THEN old_value END,
            new_value = CASE WHEN field <> 'metadata' THEN new_value END,
            changed_by = CASE WHEN is_plain_actor(changed_by) THEN changed_by ELSE 'customer:erased' END,
            erasure_id = erase_record_words.erasure_id
        WHERE ticket_id = ANY (ticket_ids) AND salt IS NOT NULL
            AND (comment IS NOT NULL OR field = 'metadata' OR NOT is_plain_actor(changed_by))
        RETURNING 1
    )
    SELECT jsonb_build_object(
        'ticket_status_changes', (SELECT count(*) FROM statuses),
        'ticket_field_changes', (SELECT count(*) FROM fields)
    )
    INTO counts;
    RETURN counts;
END;
$$;
