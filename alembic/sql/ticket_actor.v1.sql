-- Who acts: a service's word for its statement, else crm.actor of the transaction, else the database user.
CREATE OR REPLACE FUNCTION ticket_actor()
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    -- Only what reads like an actor stands alone; nobody can pass for another database user.
    SELECT CASE
        WHEN named = '' THEN 'db:' || session_user
        WHEN named ~ '^(human|ai|customer|system):[A-Za-z0-9._@+-]{1,200}$' THEN named
        ELSE left('db:' || session_user || ' as ' || named, 255)
    END
    FROM COALESCE(
        NULLIF(current_setting('crm.once_actor', true), ''), current_setting('crm.actor', true), ''
    ) AS named
$$;
