-- Whether an actor's name can hold nobody's personal data: a database user, one of ours, or a customer's id.
-- Without a search_path of its own, so that it is inlined: it names built-ins only.
CREATE OR REPLACE FUNCTION is_plain_actor(actor text)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT actor ~ '^(db:[^ ]+|(human|ai|system):[^ ]+|customer:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$'
$$;
