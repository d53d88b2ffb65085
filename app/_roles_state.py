"""What the roles of a database may do as it is now, asked of the catalogue."""

from __future__ import annotations

from sqlalchemy import text

POWERS = [
    "pg_create_subscription",
    "pg_execute_server_program",
    "pg_maintain",
    "pg_read_all_data",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_write_server_files",
]
"""PostgreSQL's own roles that go past the rights on tables."""

RIGHTS = text("""
    WITH roles AS (
        SELECT rolname::text AS role FROM pg_roles WHERE rolname = ANY (:others) UNION ALL SELECT 'public'
    ), objects AS (
        SELECT oid, relname::text AS name, relkind = 'S' AS is_sequence FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:relations)
            AND relkind IN ('r', 'p', 'v', 'm', 'S')
    ), newer AS (
        SELECT CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] END
            AS list
    )
    SELECT role, name, privilege, ''
    FROM roles, objects, newer,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'] || list)
            AS privilege
    WHERE NOT is_sequence AND has_table_privilege(role, oid, privilege)
    UNION ALL
    SELECT role, name, privilege, ''
    FROM roles, objects, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS privilege
    WHERE is_sequence AND has_sequence_privilege(role, oid, privilege)
    UNION ALL
    SELECT role, name, privilege, attname
    FROM roles, objects, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege, pg_attribute
    WHERE NOT is_sequence AND attrelid = oid AND attnum > 0 AND NOT attisdropped
        AND NOT has_table_privilege(role, oid, privilege)
        AND has_column_privilege(role, oid, attnum, privilege)
    UNION ALL
    SELECT role, proname, 'EXECUTE', '' FROM roles, pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname = ANY (:functions) AND prosecdef
        AND role <> 'public' AND has_function_privilege(role, oid, 'EXECUTE')
""")
"""Role, object, privilege, and the column where the right is not on the whole object."""

EXISTING = text("""
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND (relname = ANY (:relations) OR relowner = to_regrole(:owner))
    UNION
    SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname = ANY (:functions)
""")

WRONG = text("""
    WITH ours AS (
        SELECT oid, rolname::text AS name FROM pg_roles
        WHERE rolname = ANY (:others) OR rolname IN (:owner, :migrator)
    ), others AS (
        SELECT oid, name FROM ours WHERE name = ANY (:others)
    )
    SELECT format('%s %s', rolname, problem)
    FROM pg_roles CROSS JOIN LATERAL (VALUES
        ('is a superuser', rolsuper), ('may create roles', rolcreaterole),
        ('may create databases', rolcreatedb), ('may replicate', rolreplication),
        ('passes by row security', rolbypassrls),
        ('does not inherit its rights', NOT rolinherit), ('may log in', rolcanlogin AND rolname = :owner),
        ('may not log in', NOT rolcanlogin AND rolname <> :owner)
    ) AS attribute (problem, holds)
    WHERE holds AND oid IN (SELECT oid FROM ours)
    UNION ALL
    SELECT format('%s can act as %s', ours.name, other.oid::regrole)
    FROM ours JOIN pg_roles AS self ON self.oid = ours.oid AND NOT self.rolsuper
        JOIN pg_roles AS other ON other.oid <> ours.oid AND pg_has_role(ours.oid, other.oid, 'MEMBER')
    WHERE NOT (ours.name = :migrator AND other.rolname = :owner) AND (
        other.oid IN (SELECT oid FROM ours) OR other.rolname = ANY (:powers)
        OR other.rolsuper OR other.rolcreaterole OR other.rolreplication OR other.rolbypassrls
    )
    UNION ALL
    SELECT format('%s owns the database', name) FROM others
    WHERE oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT format('%s owns the schema public', name) FROM others
    WHERE oid = (SELECT nspowner FROM pg_namespace WHERE nspname = 'public')
    UNION ALL
    SELECT format('%s is not a member of %s', :migrator, :owner)
    WHERE NOT pg_has_role(:migrator, :owner, 'SET')
    UNION ALL
    SELECT format('%s has not the setting %s in this database', role, setting)
    FROM (
        SELECT :migrator AS role, 'role=' || :owner AS setting
        UNION ALL SELECT name, 'default_transaction_read_only=on' FROM others WHERE name <> :app
    ) AS expected
    WHERE NOT EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setrole = to_regrole(role) AND setting = ANY (setconfig)
            AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    UNION ALL
    SELECT format('%s is not owned by %s', relname, :owner) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:relations)
        AND relowner <> to_regrole(:owner)
    UNION ALL
    SELECT format('table %s is not listed in app.roles', relname) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        AND relowner = to_regrole(:owner) AND relname <> ALL (:relations)
    UNION ALL
    SELECT format('function %s is not owned by %s', p.oid::regprocedure, :owner) FROM pg_proc AS p
    WHERE pronamespace = 'public'::regnamespace AND proname = ANY (:functions)
        AND proowner <> to_regrole(:owner)
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('text search configuration %s is not owned by %s', cfgname, :owner) FROM pg_ts_config
    WHERE cfgnamespace = 'public'::regnamespace AND cfgname = 'crm' AND cfgowner <> to_regrole(:owner)
    UNION ALL
    SELECT format('anybody may execute %s, which runs as its owner', oid::regprocedure) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prosecdef
        AND has_function_privilege('public', oid, 'EXECUTE')
    UNION ALL
    SELECT format('%s runs as its owner without a pinned search_path', oid::regprocedure) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND prosecdef
        AND NOT COALESCE('search_path=pg_catalog, public, pg_temp' = ANY (proconfig), false)
    UNION ALL
    SELECT format('%s may create objects in the schema public', name)
    FROM (SELECT name FROM others UNION ALL SELECT 'public') AS role
    WHERE has_schema_privilege(name, 'public', 'CREATE')
    UNION ALL
    SELECT format('%s may create schemas or temporary tables in the database', name)
    FROM (SELECT name FROM others UNION ALL SELECT 'public') AS role
    WHERE has_database_privilege(name, current_database(), 'CREATE, TEMPORARY')
    UNION ALL
    SELECT format('%s may not use the database', name) FROM ours
    WHERE name <> :owner AND NOT (
        has_database_privilege(name, current_database(), 'CONNECT')
        AND has_schema_privilege(name, 'public', 'USAGE')
    )
    UNION ALL
    SELECT format('%s may not create tables', :owner)
    WHERE NOT has_schema_privilege(:owner, 'public', 'CREATE')
    ORDER BY 1
""")
"""One line for each thing that is not as it should be, but the rights on tables, sequences and functions."""
