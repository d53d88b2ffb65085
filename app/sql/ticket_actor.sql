CREATE OR REPLACE FUNCTION ticket_actor()
RETURNS text LANGUAGE sql STABLE AS $$
    -- Only what reads like an actor stands alone; nobody can pass for another database user.
    SELECT CASE
        WHEN named = '' THEN 'db:' || session_user
        WHEN named ~ '^(human|ai|customer|system):[A-Za-z0-9._@+-]{1,200}$' THEN named
        ELSE left('db:' || session_user || ' as ' || named, 255)
    END
    FROM COALESCE(current_setting('crm.actor', true), '') AS named
$$;
