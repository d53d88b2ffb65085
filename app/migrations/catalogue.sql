-- Everything in the connection's schema: its kind, the table, sequence or function that it belongs to, the rest
-- of its name, and how PostgreSQL describes it. What is only tuning is left out: storage parameters of tables,
-- statistics, owners, and grants to roles; what PUBLIC may do is part of the schema.
WITH relations AS (
    SELECT c.*, (
        SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type)
        FROM aclexplode(COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
            c.relowner))) WHERE grantee = 0
    ) AS public
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema()
    WHERE NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
), objects(position, kind, belongs, name, part, definition) AS (
    SELECT 1, CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
        relname, '', 0, concat_ws(', ',
            CASE relkind WHEN 'p' THEN 'partitioned' WHEN 'f' THEN 'foreign' END,
            CASE relpersistence WHEN 'p' THEN 'logged' WHEN 'u' THEN 'unlogged' ELSE 'temporary' END,
            CASE WHEN relrowsecurity THEN 'row security' END,
            CASE WHEN relforcerowsecurity THEN 'forced row security' END,
            'PUBLIC may ' || public,
            CASE WHEN relkind IN ('v', 'm') THEN left(encode(sha256(convert_to(
                pg_get_viewdef(oid), 'UTF8')), 'hex'), 16) END)
    FROM relations WHERE relkind IN ('r', 'p', 'f', 'v', 'm')
    UNION ALL
    SELECT 2, 'column', r.relname, '.' || a.attname, a.attnum, concat_ws(' ',
        format_type(a.atttypid, a.atttypmod),
        'COLLATE ' || NULLIF(a.attcollation, t.typcollation)::regcollation::text,
        CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
        CASE a.attgenerated WHEN '' THEN 'DEFAULT ' ELSE 'GENERATED ' || a.attgenerated::text || ' ' END
            || pg_get_expr(d.adbin, d.adrelid, true),
        'PUBLIC may ' || (SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type)
            FROM aclexplode(a.attacl) WHERE grantee = 0))
    FROM relations r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
    UNION ALL
    SELECT 3, 'constraint', r.relname, '.' || o.conname, 0, concat_ws(', ',
        pg_get_constraintdef(o.oid, true),
        CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
        CASE WHEN EXISTS (
            SELECT FROM pg_trigger g WHERE g.tgconstraint = o.oid AND g.tgisinternal AND g.tgenabled <> 'O'
        ) THEN 'not enforced: its triggers are switched' END)
    FROM relations r
    JOIN pg_constraint o ON o.conrelid = r.oid AND o.contype IN ('c', 'f', 'p', 'u', 'x')
    LEFT JOIN pg_index i ON i.indexrelid = o.conindid AND o.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 4, 'index', r.relname, '.' || i.indexrelid::regclass::text, 0, concat_ws(' ',
        pg_get_indexdef(i.indexrelid, 0, true), CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'INVALID' END)
    FROM relations r
    JOIN pg_index i ON i.indrelid = r.oid
    WHERE NOT EXISTS (
        SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x')
    )
    UNION ALL
    SELECT 5, 'trigger', r.relname, '.' || g.tgname, 0, pg_get_triggerdef(g.oid, true)
        || CASE g.tgenabled WHEN 'A' THEN ', always' WHEN 'R' THEN ', in replica mode only'
            WHEN 'D' THEN ', DISABLED' ELSE '' END
    FROM relations r JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT 6, 'rule', r.relname, '.' || w.rulename, 0,
        regexp_replace(pg_get_ruledef(w.oid), '\s+', ' ', 'g')
    FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
    UNION ALL
    SELECT 7, 'policy', r.relname, '.' || p.polname, 0, concat_ws(' ', p.polcmd::text, p.polpermissive,
        pg_get_expr(p.polqual, p.polrelid, true), pg_get_expr(p.polwithcheck, p.polrelid, true))
    FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT 8, 'sequence', r.relname, '', 0, concat_ws(' ',
        format_type(s.seqtypid, NULL), 'from', s.seqstart, 'by', s.seqincrement, 'in', s.seqmin, 'to', s.seqmax,
        CASE WHEN s.seqcycle THEN 'cycling' END,
        'of ' || (SELECT d.refobjid::regclass || '.' || a.attname FROM pg_depend d
            JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')),
        'PUBLIC may ' || r.public)
    FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid
    UNION ALL
    SELECT 9, 'function', p.proname, '(' || pg_get_function_identity_arguments(p.oid) || ')', 0, concat_ws(' ',
        '(' || pg_get_function_arguments(p.oid) || ')',
        'RETURNS ' || pg_get_function_result(p.oid),
        l.lanname,
        CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END,
        CASE p.proparallel WHEN 's' THEN 'parallel safe' WHEN 'r' THEN 'parallel restricted' END,
        CASE WHEN p.proisstrict THEN 'strict' END,
        CASE WHEN p.proleakproof THEN 'leakproof' END,
        CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
        'SET ' || array_to_string(p.proconfig, ', '),
        CASE WHEN EXISTS (
            SELECT FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0
        ) THEN 'for PUBLIC' ELSE 'not for PUBLIC' END,
        'text ' || left(encode(sha256(convert_to(
            replace(COALESCE(pg_get_function_sqlbody(p.oid), p.prosrc), E'\r', ''), 'UTF8')), 'hex'), 16))
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = current_schema()
    JOIN pg_language l ON l.oid = p.prolang
    WHERE NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
)
SELECT kind, belongs AS owner, name,
    -- "IN" on a varchar column is written with other casts after a dump and restore.
    CASE WHEN kind IN ('constraint', 'index', 'trigger')
        THEN regexp_replace(definition, '::(text|character varying)(\[\])?(?![\w(])', '', 'g')
        ELSE definition END AS definition
FROM objects ORDER BY position, belongs, part, name COLLATE "C"
