CREATE OR REPLACE TRIGGER trg_tickets_forget_embedding
    AFTER UPDATE OF subject, resolution_notes, conversation_id ON tickets
    FOR EACH ROW WHEN (
        (OLD.subject, OLD.resolution_notes, OLD.conversation_id)
        IS DISTINCT FROM (NEW.subject, NEW.resolution_notes, NEW.conversation_id)
    )
    EXECUTE FUNCTION forget_embeddings();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_forget_embedding;
