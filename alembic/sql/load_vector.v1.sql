-- Loads the extension by its default. A dump makes functions in the order of their names, this one before
-- search_objects, which has settings of the extension: who is no superuser may only set what the server knows.
CREATE OR REPLACE FUNCTION load_vector(nothing vector DEFAULT NULL)
RETURNS void LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$ SELECT $$;
