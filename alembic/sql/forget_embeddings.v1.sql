-- A vector goes with the text that it was made from, and what has lost one is put into the queue. An article's
-- vector stays until the next one takes its place; only that its text was refused is forgotten.
--
-- A worker holds FOR KEY SHARE on the row whose embedding it stores. FOR UPDATE waits for it, so that the
-- DELETE finds what it has stored, and lets later ones wait for the new text. A change of other columns takes
-- no such lock, and neither waits for workers nor stops them.
CREATE OR REPLACE FUNCTION forget_embeddings()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF current_setting('session_replication_role') = 'replica' AND in_apply_worker() THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'knowledge_base' THEN
        PERFORM forget_refusals(ARRAY[OLD.id]);
    ELSIF TG_TABLE_NAME = 'tickets' THEN
        PERFORM FROM tickets WHERE id = OLD.id FOR UPDATE;
        DELETE FROM ticket_embeddings WHERE ticket_id = OLD.id;
        PERFORM forget_refusals(ARRAY[OLD.id]);
        INSERT INTO embedding_queue (object_type, object_id) VALUES ('ticket', OLD.id);
    ELSE
        PERFORM FROM messages WHERE id = OLD.id FOR UPDATE;
        DELETE FROM message_embeddings WHERE message_id = OLD.id;
        IF TG_OP = 'UPDATE' THEN
            INSERT INTO embedding_queue (object_type, object_id) VALUES ('message', OLD.id);
        END IF;
        PERFORM FROM tickets
        WHERE conversation_id IN (OLD.conversation_id, NEW.conversation_id) ORDER BY id FOR UPDATE;
        DELETE FROM ticket_embeddings e USING tickets t
        WHERE t.id = e.ticket_id AND t.conversation_id IN (OLD.conversation_id, NEW.conversation_id);
        PERFORM forget_refusals(OLD.id || ARRAY(
            SELECT id FROM tickets WHERE conversation_id IN (OLD.conversation_id, NEW.conversation_id)
        ));
        INSERT INTO embedding_queue (object_type, object_id)
        SELECT 'ticket', id FROM tickets
        WHERE conversation_id IN (OLD.conversation_id, NEW.conversation_id);
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION forget_embeddings() FROM PUBLIC;
