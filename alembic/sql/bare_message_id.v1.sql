-- A mail's id is one with and without its angle brackets, whoever writes it: stored without.
CREATE OR REPLACE FUNCTION bare_message_id()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    NEW.provider_message_id := btrim(substr(NEW.provider_message_id, 2, length(NEW.provider_message_id) - 2));
    RETURN NEW;
END;
$$;
