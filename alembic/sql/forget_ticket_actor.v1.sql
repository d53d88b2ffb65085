-- At the end of a service's statement: the actor and comment that it named for this one.
CREATE OR REPLACE FUNCTION forget_ticket_actor()
RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    -- A service names its actor for one statement only; the caller's own settings stay.
    PERFORM set_config(name, '', true)
    FROM unnest(ARRAY['crm.once_actor', 'crm.once_comment', 'crm.once_mode']) AS name;
    RETURN NULL;
END;
$$;
