-- The rules of the roles, each as one query for what breaks it: a row is a problem in words and the statement
-- that repairs it, NULL where a person has to decide. Doctor reads the problems, the script runs the repairs,
-- rule by rule from the top; so a rule may rest on those above it.

-- There is each of the five roles.
SELECT format('there is no role %s', role), format(
    'DO $$ BEGIN CREATE ROLE %I; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$', role)
FROM unnest({ours}) AS role
WHERE to_regrole(role) IS NULL;

-- None has powers of its own, and nobody logs in as the owner.
SELECT format('%s %s', rolname, problem), format('ALTER ROLE %I %s', rolname, attribute)
FROM pg_roles CROSS JOIN LATERAL (VALUES
    ('is a superuser', 'NOSUPERUSER', rolsuper), ('may create roles', 'NOCREATEROLE', rolcreaterole),
    ('may create databases', 'NOCREATEDB', rolcreatedb), ('may replicate', 'NOREPLICATION', rolreplication),
    ('passes by row security', 'NOBYPASSRLS', rolbypassrls),
    ('does not inherit its rights', 'INHERIT', NOT rolinherit),
    ('may log in', 'NOLOGIN', rolcanlogin AND rolname = {owner}),
    ('may not log in', 'LOGIN', NOT rolcanlogin AND rolname <> {owner})
) AS wrong (problem, attribute, holds)
WHERE holds AND rolname = ANY ({ours});

-- None leads to another one or past its rights; but the migrator leads to the owner.
SELECT format('%s can act as %s', self.rolname, other.oid::regrole),
    format('REVOKE %s FROM %s GRANTED BY %s', roleid::regrole, member::regrole, grantor::regrole)
FROM pg_roles AS self
    JOIN pg_auth_members ON member = self.oid
    JOIN pg_roles AS other ON other.oid <> self.oid AND pg_has_role(roleid, other.oid, 'MEMBER')
WHERE self.rolname = ANY ({ours}) AND NOT self.rolsuper
    AND NOT (self.rolname = {migrator} AND other.rolname = {owner})
    AND (
        other.rolname = ANY ({ours}) OR other.rolname = ANY ({powers})
        OR other.rolsuper OR other.rolcreaterole OR other.rolreplication OR other.rolbypassrls
    );

-- The migrator works as the owner.
SELECT format('%s is not a member of %s', {migrator}, {owner}),
    format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', {owner}, {migrator})
WHERE NOT pg_has_role({migrator}, {owner}, 'SET');

-- No fault, but what the repairs below need: only to a role that is theirs too do people give objects away.
SELECT NULL, format('GRANT %I TO %I WITH INHERIT TRUE, SET TRUE', {owner}, current_user)
WHERE NOT pg_has_role({owner}, 'SET') OR NOT pg_has_role({owner}, 'USAGE');

-- The migrator is the owner from the start of a session, and readers begin read-only transactions.
SELECT format('%s has not the setting %s=%s in this database', role, name, value),
    format('ALTER ROLE %I IN DATABASE %I SET %I = %L', role, current_database(), name, value)
FROM (VALUES
    ({migrator}, 'role', {owner}),
    ({readonly}, 'default_transaction_read_only', 'on'), ({auditor}, 'default_transaction_read_only', 'on')
) AS expected (role, name, value)
WHERE NOT EXISTS (
    SELECT FROM pg_db_role_setting
    WHERE setrole = to_regrole(role) AND name || '=' || value = ANY (setconfig)
        AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
);

-- Whoever owns the database does there as they like.
SELECT format('%s owns the database', datdba::regrole),
    format('ALTER DATABASE %I OWNER TO %I', datname, {owner})
FROM pg_database
WHERE datname = current_database() AND datdba::regrole::text = ANY ({others});

-- So does whoever owns the schema.
SELECT format('%s owns the schema public', nspowner::regrole),
    format('ALTER SCHEMA public OWNER TO %I', {owner})
FROM pg_namespace
WHERE nspname = 'public' AND nspowner::regrole::text = ANY ({others});

-- All but the owner connect to the database and use its schema.
SELECT format('%s may not use the database', role), repair
FROM unnest({ours}) AS role, LATERAL (
    SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role)
    WHERE NOT has_database_privilege(role, current_database(), 'CONNECT')
    UNION ALL
    SELECT format('GRANT USAGE ON SCHEMA public TO %I', role)
    WHERE NOT has_schema_privilege(role, 'public', 'USAGE')
) AS lacking (repair)
WHERE role <> {owner};

-- All of them use the types and operators of vector, in whatever schema it is.
SELECT format('%s may not use the schema %s, where vector is', role, extnamespace::regnamespace),
    format('GRANT USAGE ON SCHEMA %s TO %I', extnamespace::regnamespace, role)
FROM pg_extension, unnest({ours}) AS role
WHERE extname = 'vector' AND extnamespace <> 'public'::regnamespace
    AND NOT has_schema_privilege(role, extnamespace, 'USAGE');

-- Nobody else creates schemas or temporary tables.
SELECT format('%s may create schemas or temporary tables in the database', role),
    format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %s', current_database(), role)
FROM unnest({others} || 'public'::text) AS role
WHERE has_database_privilege(role, current_database(), 'CREATE, TEMPORARY');

-- Nobody else creates objects in the schema.
SELECT format('%s may create objects in the schema public', role),
    format('REVOKE CREATE ON SCHEMA public FROM %s', role)
FROM unnest({others} || 'public'::text) AS role
WHERE has_schema_privilege(role, 'public', 'CREATE');

-- The owner does.
SELECT format('%s may not create tables', {owner}), format('GRANT USAGE, CREATE ON SCHEMA public TO %I', {owner})
WHERE NOT has_schema_privilege({owner}, 'public', 'CREATE');

-- Tables, sequences, functions and the text search configuration are the owner's.
WITH objects AS (
    SELECT oid::regclass::text AS object, CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind,
        relowner AS owner
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY ({relations})
    UNION ALL
    SELECT oid::regprocedure::text, 'function', proowner FROM pg_proc AS p
    WHERE pronamespace = 'public'::regnamespace AND proname = ANY ({functions})
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT oid::regconfig::text, 'text search configuration', cfgowner FROM pg_ts_config
    WHERE cfgnamespace = 'public'::regnamespace AND cfgname = 'crm'
)
SELECT format('%s %s is not owned by %s', kind, object, {owner}),
    format('ALTER %s %s OWNER TO %I', upper(kind), object, {owner})
FROM objects
WHERE owner IS DISTINCT FROM to_regrole({owner});

-- No table of the owner is without a line of rights.
SELECT format('table %s is not listed in the table of rights', relname), NULL
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    AND relowner = to_regrole({owner}) AND relname <> ALL ({relations});

-- What runs as its owner is executed by nobody but whom its line names.
SELECT format('anybody may execute %s, which runs as its owner', oid::regprocedure),
    CASE WHEN proowner = to_regrole({owner}) THEN
        format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure)
    END
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prosecdef AND has_function_privilege('public', oid, 'EXECUTE');

-- What runs as its owner looks for names where nobody else can put any.
SELECT format('%s runs as its owner without a pinned search_path', oid::regprocedure),
    CASE WHEN proowner = to_regrole({owner}) THEN
        format('ALTER FUNCTION %s SET search_path = pg_catalog, public, pg_temp', oid::regprocedure)
    END
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prosecdef
    AND NOT COALESCE('search_path=pg_catalog, public, pg_temp' = ANY (proconfig), false);

-- Each role has the rights of its line, and no other.
WITH lines (kind, name, role, line) AS (
    VALUES
        {rights}
), objects AS (
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, oid, relname::text AS name,
        oid::regclass::text AS object
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND (relname = ANY ({relations}) OR relowner = to_regrole({owner}))
    UNION ALL
    SELECT 'FUNCTION', oid, proname, oid::regprocedure::text
    FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname = ANY ({functions}) AND prosecdef
), expected AS (
    SELECT role, kind, name, privilege.words[1] AS privilege, COALESCE(column_name, '') AS column_name
    FROM lines JOIN objects USING (kind, name)
        CROSS JOIN regexp_matches(line, '(\w+)(?: \(([^)]*)\))?', 'g') AS privilege (words)
        LEFT JOIN LATERAL string_to_table(privilege.words[2], ', ') AS column_name ON true
), roles AS (
    SELECT unnest({others} || 'public'::text) AS role
), actual AS (
    SELECT role, kind, name, privilege, ''
    FROM roles, objects, unnest(
        ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
        || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] END
    ) AS privilege
    WHERE kind = 'TABLE' AND has_table_privilege(role, oid, privilege)
    UNION ALL
    SELECT role, kind, name, privilege, attname
    FROM roles, objects, pg_attribute, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
    WHERE kind = 'TABLE' AND attrelid = oid AND attnum > 0 AND NOT attisdropped
        AND NOT has_table_privilege(role, oid, privilege) AND has_column_privilege(role, oid, attnum, privilege)
    UNION ALL
    SELECT role, kind, name, privilege, ''
    FROM roles, objects, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS privilege
    WHERE kind = 'SEQUENCE' AND has_sequence_privilege(role, oid, privilege)
    UNION ALL
    SELECT role, kind, name, 'EXECUTE', ''
    FROM roles, objects
    WHERE kind = 'FUNCTION' AND role <> 'public' AND has_function_privilege(role, oid, 'EXECUTE')
), differences (role, kind, name, privilege, column_name, verdict) AS (
    SELECT *, ', and should not' FROM (SELECT * FROM actual EXCEPT SELECT * FROM expected) AS too_much
    UNION ALL
    SELECT *, ': not granted' FROM (SELECT * FROM expected EXCEPT SELECT * FROM actual) AS missing
)
SELECT
    format('%s may %s %s%s%s', role, privilege, name, ' (' || NULLIF(column_name, '') || ')', verdict),
    format('REVOKE ALL ON %s %s FROM %s', kind, object, role)
        || COALESCE('; GRANT ' || NULLIF(line, '') || format(' ON %s %s TO %s', kind, object, role), '')
FROM differences JOIN objects USING (kind, name) LEFT JOIN lines USING (kind, name, role);
