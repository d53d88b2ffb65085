-- The next number, TKT-0001 and on, that no ticket has.
CREATE OR REPLACE FUNCTION generate_ticket_number()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    number text;
BEGIN
    -- An import that brings numbers of its own holds this lock until they can be seen.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('crm/ticket-numbers', 0));
    -- Raw SQL may have used numbers that the sequence has not reached.
    LOOP
        number := nextval('ticket_number_seq')::text;
        NEW.ticket_number := 'TKT-' || lpad(number, GREATEST(4, length(number)), '0');
        EXIT WHEN NOT EXISTS (SELECT FROM tickets WHERE ticket_number = NEW.ticket_number);
    END LOOP;
    RETURN NEW;
END;
$$;
