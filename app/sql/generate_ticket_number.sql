CREATE OR REPLACE FUNCTION generate_ticket_number()
RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number text := nextval('ticket_number_seq')::text;
BEGIN
    NEW.ticket_number := 'TKT-' || lpad(number, GREATEST(4, length(number)), '0');
    RETURN NEW;
END;
$$;
