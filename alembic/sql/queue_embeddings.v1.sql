-- What is new needs an embedding: a message its own, and a ticket one that has the first three messages of its
-- conversation. Only adds rows to the queue, so nobody who writes a message waits for a worker.
CREATE OR REPLACE FUNCTION queue_embeddings()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    changed uuid[];
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'tickets' THEN
        INSERT INTO embedding_queue (object_type, object_id) VALUES ('ticket', NEW.id);
    ELSE
        INSERT INTO embedding_queue (object_type, object_id) VALUES ('message', NEW.id);
        WITH queued AS (
            INSERT INTO embedding_queue (object_type, object_id)
            SELECT 'ticket', t.id FROM tickets t
            WHERE t.conversation_id = NEW.conversation_id AND NOT EXISTS (
                SELECT FROM messages m
                WHERE m.conversation_id = NEW.conversation_id
                    AND (m.created_at, m.id) < (NEW.created_at, NEW.id) OFFSET 2
            )
            RETURNING object_id
        )
        SELECT array_agg(object_id) INTO changed FROM queued;
        IF changed IS NOT NULL THEN
            PERFORM forget_refusals(changed);
        END IF;
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION queue_embeddings() FROM PUBLIC;
