-- What lets searches in plain SQL use the index of the vectors and fill a page under any filter, with what this
-- database sets now, NULL where it sets nothing. search_objects carries its own settings.
CREATE OR REPLACE FUNCTION search_settings()
RETURNS TABLE (name text, value text, actual text)
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT wanted.name, wanted.value, (
        SELECT substr(setting, length(wanted.name) + 2)
        FROM pg_db_role_setting AS s
            JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database(),
            unnest(s.setconfig) AS setting
        WHERE s.setrole = 0 AND starts_with(setting, wanted.name || '=')
    )
    FROM (VALUES ('random_page_cost', '1.1'), ('hnsw.iterative_scan', 'strict_order')) AS wanted (name, value)
$$;
