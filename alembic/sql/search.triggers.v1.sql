CREATE OR REPLACE TRIGGER trg_knowledge_base_keep_words
    AFTER INSERT OR UPDATE OF title, content ON knowledge_base
    FOR EACH ROW EXECUTE FUNCTION keep_knowledge_words();
ALTER TABLE knowledge_base ENABLE ALWAYS TRIGGER trg_knowledge_base_keep_words;
