-- Who the person was: profile, identifiers, and what merges, events and former holds tell about either.
--
-- An undone merge's image is of a customer who lives on: it goes with that one. But what was made while that one
-- had something of this person, by a merge that is undone too, goes as well; nobody needs it any more.
CREATE OR REPLACE FUNCTION erase_identity(living uuid, customer_ids uuid[])
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    counts jsonb;
BEGIN
    WITH RECURSIVE holders (id) AS (
        SELECT unnest(customer_ids)
        UNION
        SELECT merge.survivor_id FROM holders JOIN customer_merges AS merge ON merge.absorbed_id = holders.id
    ), events AS (
        UPDATE identity_events SET
            reason = NULL, details = '{}',
            actor = CASE WHEN is_plain_actor(actor) THEN actor ELSE 'customer:erased' END
        WHERE (customer_id = ANY (customer_ids) OR other_customer_id = ANY (customer_ids))
            AND (reason IS NOT NULL OR details <> '{}' OR NOT is_plain_actor(actor))
        RETURNING 1
    ), images AS (
        UPDATE customer_merges SET absorbed = '{}', filled = '{}'
        WHERE undone_at IS NOT NULL AND absorbed_id IN (SELECT id FROM holders)
            AND survivor_id <> ALL (customer_ids) AND absorbed_id <> ALL (customer_ids)
    ), merges AS (
        UPDATE customer_merges SET
            absorbed = CASE WHEN absorbed_id = ANY (customer_ids) THEN '{}' ELSE absorbed END,
            filled = CASE WHEN absorbed_id = ANY (customer_ids) THEN '{}' ELSE filled END,
            reason = '[erased]',
            undo_reason = CASE WHEN undo_reason IS NOT NULL THEN '[erased]' END,
            actor = CASE WHEN is_plain_actor(actor) THEN actor ELSE 'customer:erased' END,
            undone_by = CASE WHEN is_plain_actor(undone_by) IS FALSE THEN 'customer:erased' ELSE undone_by END
        WHERE survivor_id = ANY (customer_ids) OR absorbed_id = ANY (customer_ids)
        RETURNING 1
    ), foreign_moves AS (
        DELETE FROM customer_merge_foreign_moves AS move USING customer_merges AS merge
        WHERE merge.id = move.merge_id AND merge.absorbed_id = ANY (customer_ids)
        RETURNING 1
    ), holds AS (
        UPDATE legal_holds SET
            reason = '[erased]',
            release_reason = CASE WHEN release_reason IS NOT NULL THEN '[erased]' END,
            actor = CASE WHEN is_plain_actor(actor) THEN actor ELSE 'customer:erased' END,
            released_by = CASE WHEN is_plain_actor(released_by) IS FALSE THEN 'customer:erased' ELSE released_by END
        WHERE customer_id = ANY (customer_ids)
        RETURNING 1
    ), identifiers AS (
        DELETE FROM customer_identifiers WHERE customer_id = living RETURNING 1
    ), profile AS (
        UPDATE customers SET
            email = id || '@placeholder.invalid', name = NULL, phone = NULL, company = NULL, metadata = '{}'
        WHERE id = living RETURNING 1
    )
    SELECT jsonb_build_object(
        'customers', (SELECT count(*) FROM profile),
        'customer_identifiers', (SELECT count(*) FROM identifiers),
        'identity_events', (SELECT count(*) FROM events), 'customer_merges', (SELECT count(*) FROM merges),
        'customer_merge_foreign_moves', (SELECT count(*) FROM foreign_moves),
        'legal_holds', (SELECT count(*) FROM holds)
    )
    INTO counts;
    RETURN counts;
END;
$$;
