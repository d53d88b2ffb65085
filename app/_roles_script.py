"""The SQL that creates the roles and brings every right to what ``app.roles`` lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ._roles_state import POWERS

_SCRIPT = """\
-- Creates or repairs the roles of one database: {prefix}_owner, {prefix}_migrator, {prefix}_app,
-- {prefix}_readonly and {prefix}_auditor.
-- Whatever is right already is left alone, so that who may not create roles can repair rights.
-- Passwords are yours to give: ALTER ROLE {prefix}_app PASSWORD ..., or \\password in psql.
SET LOCAL lock_timeout = '5s';
DO $crm$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('crm/roles', 0)); END $crm$;

DO $crm$
DECLARE
    ours CONSTANT text[] := ARRAY['{prefix}_owner', '{prefix}_migrator', '{prefix}_app', '{prefix}_readonly',
        '{prefix}_auditor'];
    name text;
    other text;
    grantor text;
    attribute text;
    is_wrong boolean;
BEGIN
    FOREACH name IN ARRAY ours LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- Created meanwhile, for another database of this server.
            END;
        END IF;
        FOR attribute, is_wrong IN
            SELECT wrong.* FROM pg_roles CROSS JOIN LATERAL (VALUES
                ('NOSUPERUSER', rolsuper), ('NOCREATEROLE', rolcreaterole), ('NOCREATEDB', rolcreatedb),
                ('NOREPLICATION', rolreplication), ('NOBYPASSRLS', rolbypassrls), ('INHERIT', NOT rolinherit),
                ('NOLOGIN', rolcanlogin AND rolname = '{prefix}_owner'),
                ('LOGIN', NOT rolcanlogin AND rolname <> '{prefix}_owner')
            ) AS wrong WHERE rolname = name
        LOOP
            IF is_wrong THEN
                EXECUTE format('ALTER ROLE %I %s', name, attribute);
            END IF;
        END LOOP;
    END LOOP;

    -- None of them leads to another one or past its rights; but the migrator works as the owner.
    FOR name, other, grantor IN
        SELECT m.member::regrole, m.roleid::regrole, m.grantor::regrole
        FROM pg_auth_members AS m JOIN pg_roles AS self ON self.oid = m.member
        WHERE self.rolname = ANY (ours) AND EXISTS (
            SELECT FROM pg_roles AS reached
            WHERE pg_has_role(m.roleid, reached.oid, 'MEMBER')
                AND NOT (self.rolname = '{prefix}_migrator' AND reached.rolname = '{prefix}_owner')
                AND (
                    reached.rolname = ANY (ours) OR reached.rolname IN ({powers})
                    OR reached.rolsuper OR reached.rolcreaterole OR reached.rolreplication
                    OR reached.rolbypassrls
                )
        )
    LOOP
        EXECUTE format('REVOKE %s FROM %s GRANTED BY %s', other, name, grantor);
    END LOOP;
    IF NOT pg_has_role('{prefix}_migrator', '{prefix}_owner', 'SET') THEN
        GRANT {prefix}_owner TO {prefix}_migrator WITH INHERIT TRUE, SET TRUE;
    END IF;
    -- Who is no superuser gives objects away only to a role that is also their own.
    IF NOT pg_has_role('{prefix}_owner', 'SET') OR NOT pg_has_role('{prefix}_owner', 'USAGE') THEN
        EXECUTE format('GRANT {prefix}_owner TO %I WITH INHERIT TRUE, SET TRUE', current_user);
    END IF;

    FOR name, attribute IN
        VALUES ('{prefix}_migrator', 'role={prefix}_owner'),
            ('{prefix}_readonly', 'default_transaction_read_only=on'),
            ('{prefix}_auditor', 'default_transaction_read_only=on')
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_db_role_setting
            WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND setrole = name::regrole AND attribute = ANY (setconfig)
        ) THEN
            EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %I = %L', name, current_database(),
                split_part(attribute, '=', 1), split_part(attribute, '=', 2));
        END IF;
    END LOOP;
END
$crm$;

DO $crm$
DECLARE
    name text;
BEGIN
    -- Who owns the database, or the schema, does there as they like; before anything is granted there.
    IF (SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database())
        IN ('{prefix}_app', '{prefix}_readonly', '{prefix}_auditor')
    THEN
        EXECUTE format('ALTER DATABASE %I OWNER TO {prefix}_owner', current_database());
    END IF;
    IF (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public')
        IN ('{prefix}_app', '{prefix}_readonly', '{prefix}_auditor')
    THEN
        ALTER SCHEMA public OWNER TO {prefix}_owner;
    END IF;
    FOREACH name IN ARRAY ARRAY['{prefix}_migrator', '{prefix}_app', '{prefix}_readonly', '{prefix}_auditor']
    LOOP
        IF NOT has_database_privilege(name, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        END IF;
        IF NOT has_schema_privilege(name, 'public', 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
        END IF;
    END LOOP;
    -- A temporary table is an object too.
    IF has_database_privilege('public', current_database(), 'TEMPORARY') THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    IF has_schema_privilege('public', 'public', 'CREATE') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
    FOREACH name IN ARRAY ARRAY['{prefix}_app', '{prefix}_readonly', '{prefix}_auditor'] LOOP
        IF has_schema_privilege(name, 'public', 'CREATE') THEN
            EXECUTE format('REVOKE CREATE ON SCHEMA public FROM %I', name);
        END IF;
        IF has_database_privilege(name, current_database(), 'CREATE, TEMPORARY') THEN
            EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %I', current_database(), name);
        END IF;
    END LOOP;
    IF NOT has_schema_privilege('{prefix}_owner', 'public', 'CREATE') THEN
        GRANT USAGE, CREATE ON SCHEMA public TO {prefix}_owner;
    END IF;
END
$crm$;

DO $crm$
DECLARE
    object text;
    kind text;
    grantee text;
    rights text;
BEGIN
    FOR object, kind IN
        SELECT c.oid::regclass::text, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relowner <> '{prefix}_owner'::regrole
            AND c.relname IN ({relations})
        UNION ALL
        SELECT p.oid::regprocedure::text, 'FUNCTION'
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proowner <> '{prefix}_owner'::regrole
            AND p.proname IN ({functions})
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT t.oid::regconfig::text, 'TEXT SEARCH CONFIGURATION'
        FROM pg_ts_config AS t
        WHERE t.cfgnamespace = 'public'::regnamespace AND t.cfgowner <> '{prefix}_owner'::regrole
            AND t.cfgname = 'crm'
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO {prefix}_owner', kind, object);
    END LOOP;

    FOR object, kind IN
        SELECT c.oid::regclass::text, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END
        FROM pg_class AS c
        WHERE c.relowner = '{prefix}_owner'::regrole AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL
        SELECT p.oid::regprocedure::text, 'FUNCTION'
        FROM pg_proc AS p
        WHERE p.proowner = '{prefix}_owner'::regrole AND p.prosecdef
    LOOP
        EXECUTE format(
            'REVOKE ALL ON %s %s FROM PUBLIC, {prefix}_app, {prefix}_readonly, {prefix}_auditor', kind, object
        );
    END LOOP;

    FOR kind, object, grantee, rights IN
        VALUES
            {rights}
    LOOP
        IF COALESCE(to_regclass(object)::oid, to_regproc(object)::oid) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s %s TO %I', rights, kind, object, grantee);
        END IF;
    END LOOP;
END
$crm$;
"""


def render(
    prefix: str,
    *,
    lines: Mapping[str, Mapping[str, Mapping[str, str]]],
    functions: Sequence[str],
) -> str:
    """The script. ``lines``: kind of object -> name -> role without its prefix -> rights."""
    rights = [
        f"({_literals([kind, f'public.{name}', f'{prefix}_{role}', line])})"
        for kind, objects in lines.items()
        for name, by_role in objects.items()
        for role, line in by_role.items()
        if line
    ]
    return _SCRIPT.format(
        prefix=prefix,
        powers=_literals(POWERS),
        relations=_literals([*lines["TABLE"], *lines["SEQUENCE"]]),
        functions=_literals(functions),
        rights=",\n            ".join(rights),
    )


def _literals(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)
