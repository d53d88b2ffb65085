CREATE OR REPLACE FUNCTION forget_ticket_actor()
RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A service names its actor for one statement only; the next one must not inherit it.
    PERFORM set_config(name, '', true)
    FROM unnest(ARRAY['crm.actor', 'crm.comment', 'crm.force', 'crm.once']) AS name;
    RETURN NULL;
END;
$$;
