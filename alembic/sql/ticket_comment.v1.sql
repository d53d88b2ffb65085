-- Why: a service's word for its statement, else crm.comment of the transaction.
CREATE OR REPLACE FUNCTION ticket_comment()
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    -- Where a service has named its actor, the caller's own comment is not meant.
    SELECT NULLIF(CASE
        WHEN current_setting('crm.once_actor', true) <> '' THEN current_setting('crm.once_comment', true)
        ELSE current_setting('crm.comment', true)
    END, '')
$$;
