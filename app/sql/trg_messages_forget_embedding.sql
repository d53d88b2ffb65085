CREATE OR REPLACE TRIGGER trg_messages_forget_embedding
    AFTER UPDATE OF content, conversation_id ON messages
    FOR EACH ROW WHEN ((OLD.content, OLD.conversation_id) IS DISTINCT FROM (NEW.content, NEW.conversation_id))
    EXECUTE FUNCTION forget_embeddings();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_embedding;
