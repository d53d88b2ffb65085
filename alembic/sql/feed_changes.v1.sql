-- What a statement changed, for readers of the feed: ids and codes, never content.
--
-- The order of reading is that of transactions. Their numbers begin anew where the rows were copied to another
-- server: the last row then is of a transaction that this server has not come to yet, and another life begins.
CREATE OR REPLACE FUNCTION feed_changes()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    own bigint := pg_current_xact_id()::text::bigint;
    this_life integer := 1;
    op text := lower(TG_OP);
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    SELECT CASE
        WHEN f.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
            AND f.transaction_id <> own THEN f.life + 1
        ELSE f.life
    END INTO this_life
    FROM change_feed AS f ORDER BY f.life DESC, f.transaction_id DESC, f.seq DESC LIMIT 1;
    this_life := COALESCE(this_life, 1);
    IF TG_TABLE_NAME = 'customers' THEN
        INSERT INTO change_feed (life, transaction_id, subject, subject_id, customer_id, change)
        SELECT this_life, own, 'customer', id, id, op FROM changed;
    ELSIF TG_TABLE_NAME = 'identity_events' THEN
        INSERT INTO change_feed (life, transaction_id, subject, subject_id, customer_id, change)
        SELECT this_life, own, 'identity', id, customer_id, event FROM changed ORDER BY seq;
    ELSE
        INSERT INTO change_feed (life, transaction_id, subject, subject_id, customer_id, change)
        SELECT this_life, own, left(TG_TABLE_NAME, -1), id, customer_id, op FROM changed;
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('crm_changes', '');
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION feed_changes() FROM PUBLIC;
