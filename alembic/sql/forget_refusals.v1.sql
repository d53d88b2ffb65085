-- What an embedder has refused of these objects is tried again at once, since their text has changed. Entries that
-- a worker holds are passed over, so that nobody waits for it; a new one, if it is needed, is the caller's.
CREATE OR REPLACE FUNCTION forget_refusals(ids uuid[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    DELETE FROM embedding_queue WHERE (object_type, model, id) IN (
        SELECT q.object_type, q.model, q.id FROM embedding_queue q
        WHERE q.object_id = ANY (ids) AND q.failures > 0 FOR UPDATE SKIP LOCKED
    );
END;
$$;
