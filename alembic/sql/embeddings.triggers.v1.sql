CREATE OR REPLACE TRIGGER trg_knowledge_base_forget_deleted
    AFTER DELETE ON knowledge_base
    FOR EACH ROW EXECUTE FUNCTION forget_embeddings();
ALTER TABLE knowledge_base ENABLE ALWAYS TRIGGER trg_knowledge_base_forget_deleted;
CREATE OR REPLACE TRIGGER trg_knowledge_base_forget_refusal
    AFTER UPDATE OF title, content ON knowledge_base
    FOR EACH ROW WHEN ((OLD.title, OLD.content) IS DISTINCT FROM (NEW.title, NEW.content))
    EXECUTE FUNCTION forget_embeddings();
ALTER TABLE knowledge_base ENABLE ALWAYS TRIGGER trg_knowledge_base_forget_refusal;
CREATE OR REPLACE TRIGGER trg_messages_forget_deleted
    AFTER DELETE ON messages
    FOR EACH ROW EXECUTE FUNCTION forget_embeddings();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_deleted;
CREATE OR REPLACE TRIGGER trg_messages_forget_embedding
    AFTER UPDATE OF content, conversation_id ON messages
    FOR EACH ROW WHEN ((OLD.content, OLD.conversation_id) IS DISTINCT FROM (NEW.content, NEW.conversation_id))
    EXECUTE FUNCTION forget_embeddings();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_forget_embedding;
CREATE OR REPLACE TRIGGER trg_tickets_forget_embedding
    AFTER UPDATE OF subject, resolution_notes, conversation_id ON tickets
    FOR EACH ROW WHEN (
        (OLD.subject, OLD.resolution_notes, OLD.conversation_id)
        IS DISTINCT FROM (NEW.subject, NEW.resolution_notes, NEW.conversation_id)
    )
    EXECUTE FUNCTION forget_embeddings();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_forget_embedding;
CREATE OR REPLACE TRIGGER trg_messages_queue_embedding
    AFTER INSERT ON messages
    FOR EACH ROW EXECUTE FUNCTION queue_embeddings();
ALTER TABLE messages ENABLE ALWAYS TRIGGER trg_messages_queue_embedding;
CREATE OR REPLACE TRIGGER trg_tickets_queue_embedding
    AFTER INSERT ON tickets
    FOR EACH ROW EXECUTE FUNCTION queue_embeddings();
ALTER TABLE tickets ENABLE ALWAYS TRIGGER trg_tickets_queue_embedding;
