CREATE OR REPLACE TRIGGER trg_messages_forget_deleted
    AFTER DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION forget_embeddings();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_deleted;
