-- A vector goes with the text that it was made from; what is missing is embedded again.
CREATE OR REPLACE FUNCTION forget_embeddings()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'tickets' THEN
        DELETE FROM ticket_embeddings WHERE ticket_id = NEW.id;
    ELSE
        DELETE FROM message_embeddings WHERE message_id = NEW.id;
        DELETE FROM ticket_embeddings e USING tickets t
        WHERE t.id = e.ticket_id AND t.conversation_id IN (OLD.conversation_id, NEW.conversation_id);
    END IF;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION forget_embeddings() FROM PUBLIC;
