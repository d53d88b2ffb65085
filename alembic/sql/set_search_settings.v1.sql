-- For the database's owner; new sessions have the settings. One that somebody has made stays.
CREATE OR REPLACE FUNCTION set_search_settings()
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    setting record;
BEGIN
    -- Loads the extension: who is no superuser may only set parameters that the server knows.
    EXECUTE (
        SELECT format('SELECT %L::%s', '[1]', t.oid::regtype)
        FROM pg_type AS t JOIN pg_extension AS e ON e.extname = 'vector' AND e.extnamespace = t.typnamespace
        WHERE t.typname = 'vector'
    );
    FOR setting IN SELECT name, value FROM search_settings() WHERE actual IS NULL LOOP
        EXECUTE format('ALTER DATABASE %I SET %s = %L', current_database(), setting.name, setting.value);
    END LOOP;
END;
$$;
