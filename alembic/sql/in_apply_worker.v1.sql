-- Whether this is a worker of a subscription, which applies rows and their record as another server has them:
-- triggers judged and recorded them there, and here they would do so twice.
--
-- The setting session_replication_role alone says nothing, since a superuser's session can have it too. The
-- server itself keeps the list of its workers' processes; no statement puts a session on it.
--
-- Triggers look at the setting first, which costs next to nothing: no ordinary session comes here.
CREATE OR REPLACE FUNCTION in_apply_worker()
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_stat_get_subscription(NULL) WHERE pid = pg_backend_pid())
$$;
