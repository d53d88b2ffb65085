-- Moves a ticket, and its conversation with it where it is escalated or taken back; the record has the actor and
-- the comment. Without an actor it is the one of crm.actor, else the database user.
CREATE OR REPLACE FUNCTION change_ticket_status(
    ticket uuid, new_status text, actor text DEFAULT NULL, comment text DEFAULT NULL,
    resolution_notes text DEFAULT NULL, escalation_reason text DEFAULT NULL
)
RETURNS SETOF tickets LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    present tickets;
    own_comment text := current_setting('crm.comment', true);
BEGIN
    -- The conversation before the ticket, as services lock them.
    PERFORM FROM conversations AS c JOIN tickets AS t ON t.conversation_id = c.id
    WHERE t.id = ticket FOR NO KEY UPDATE OF c;
    SELECT * INTO present FROM tickets WHERE id = ticket FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no ticket %', ticket USING ERRCODE = 'no_data_found';
    END IF;
    IF new_status = 'escalated' AND COALESCE(
        change_ticket_status.escalation_reason, present.escalation_reason, ''
    ) !~ '\S' THEN
        RAISE EXCEPTION 'an escalation needs a reason' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'tickets_escalation_reason', TABLE = 'tickets', SCHEMA = 'public';
    END IF;
    IF present.status IS DISTINCT FROM new_status AND 'escalated' IN (present.status, new_status) THEN
        UPDATE conversations AS c SET
            status = CASE new_status WHEN 'escalated' THEN 'escalated' ELSE 'active' END,
            escalation_reason = COALESCE(change_ticket_status.escalation_reason, c.escalation_reason)
        WHERE c.id = present.conversation_id AND (
            new_status = 'escalated'
            OR c.status = 'escalated' AND NOT EXISTS (
                SELECT FROM tickets AS other
                WHERE other.conversation_id = c.id AND other.status = 'escalated' AND other.id <> ticket
            )
        );
    END IF;
    IF actor IS NOT NULL THEN
        PERFORM set_config('crm.once_actor', actor, true);
        PERFORM set_config('crm.once_comment', COALESCE(comment, ''), true);
    ELSIF comment IS NOT NULL THEN
        PERFORM set_config('crm.comment', comment, true);
    END IF;
    PERFORM set_config(
        'crm.once_mode',
        CASE WHEN present.status = new_status AND comment IS NOT NULL THEN 'remark' ELSE '' END, true
    );
    RETURN QUERY UPDATE tickets AS t SET
        status = new_status,
        resolution_notes = COALESCE(change_ticket_status.resolution_notes, t.resolution_notes),
        escalation_reason = COALESCE(change_ticket_status.escalation_reason, t.escalation_reason)
    WHERE t.id = ticket RETURNING t.*;
    PERFORM set_config('crm.comment', COALESCE(own_comment, ''), true);
    -- The trigger at the statement's end forgets it only with an actor of the statement's own.
    PERFORM set_config('crm.once_mode', '', true);
END;
$$;
