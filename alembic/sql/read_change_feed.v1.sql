-- Changes after a place in the feed, in order, up to the first one that a running transaction may still precede.
CREATE OR REPLACE FUNCTION read_change_feed(
    after_life integer, after_transaction bigint, after_seq bigint, max_rows integer
)
RETURNS TABLE (
    life integer, transaction_id bigint, seq bigint, subject text, subject_id uuid, customer_id uuid,
    change text, changed_at timestamptz
)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    WITH horizon AS (
        -- Where the rows were copied from another server and nobody has written since, all of them are done.
        SELECT last.life, CASE
            WHEN last.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                AND last.transaction_id IS DISTINCT FROM pg_current_xact_id_if_assigned()::text::bigint
            THEN last.transaction_id + 1
            ELSE pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        END AS transaction_id
        FROM change_feed AS last ORDER BY last.life DESC, last.transaction_id DESC, last.seq DESC LIMIT 1
    )
    SELECT f.life, f.transaction_id, f.seq, f.subject::text, f.subject_id, f.customer_id, f.change::text,
        f.changed_at
    FROM change_feed AS f CROSS JOIN horizon
    WHERE (f.life, f.transaction_id, f.seq) > (after_life, after_transaction, after_seq)
        AND (f.life, f.transaction_id) < (horizon.life, horizon.transaction_id)
    ORDER BY f.life, f.transaction_id, f.seq
    LIMIT max_rows
$$;
