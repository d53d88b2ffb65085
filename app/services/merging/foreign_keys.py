"""Foreign keys to customers from other applications' tables, and what keeps their rows from moving."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

FOREIGN_KEYS = """(
    SELECT COALESCE(jsonb_agg(jsonb_build_object(
        'schema_name', n.nspname,
        'table_name', c.relname,
        'column_names', (
            SELECT array_agg(a.attname ORDER BY key.n)
            FROM unnest(reference.conkey) WITH ORDINALITY AS key(attnum, n)
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = key.attnum
        ),
        'referenced', (
            SELECT array_agg(a.attname ORDER BY key.n)
            FROM unnest(reference.confkey) WITH ORDINALITY AS key(attnum, n)
            JOIN pg_attribute AS a ON a.attrelid = customers.oid AND a.attnum = key.attnum
        ),
        'label', CASE WHEN n.oid = customers.relnamespace THEN '' ELSE quote_ident(n.nspname) || '.' END
            || quote_ident(c.relname),
        'follows_updates', reference.follows_updates,
        'is_customers', c.oid = customers.oid,
        'is_partitioned', c.relkind = 'p',
        'columns', (
            SELECT jsonb_agg(a.attname ORDER BY a.attnum)
            FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ),
        'key', (
            SELECT jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))
            FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary
                AND array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
        ),
        'key_names_customers', EXISTS (
            SELECT FROM pg_index AS i
            JOIN pg_constraint AS other ON other.conrelid = i.indrelid AND other.contype = 'f'
                AND other.confrelid = customers.oid AND other.conkey <> reference.conkey
            WHERE i.indrelid = c.oid AND i.indisprimary AND other.conkey && i.indkey::int2[]
        ),
        'is_generated', EXISTS (
            SELECT FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum = ANY(reference.conkey) AND a.attgenerated <> ''
        ),
        'may_read', has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
        'may_update', (
            SELECT bool_and(has_column_privilege(c.oid, attnum, 'UPDATE'))
            FROM unnest(reference.conkey) AS attnum
        ),
        'hides_rows', c.relrowsecurity AND row_security_active(c.oid),
        'unique_keys', COALESCE((
            SELECT jsonb_agg(jsonb_build_object(
                'predicate', pg_get_expr(i.indpred, i.indrelid),
                'parts', (
                    SELECT jsonb_agg(jsonb_build_array(
                        pg_get_indexdef(i.indexrelid, part, true),
                        CASE
                            WHEN e.conexclop IS NOT NULL THEN (
                                SELECT format('OPERATOR(%I.%s)', space.nspname, o.oprname)
                                FROM pg_operator AS o JOIN pg_namespace AS space ON space.oid = o.oprnamespace
                                WHERE o.oid = e.conexclop[part]
                            )
                            WHEN i.indnullsnotdistinct THEN 'IS NOT DISTINCT FROM'
                            ELSE '='
                        END
                    ) ORDER BY part)
                    FROM generate_series(1, i.indnkeyatts) AS part
                )
            ))
            FROM pg_index AS i
            LEFT JOIN pg_constraint AS e ON e.conindid = i.indexrelid AND e.contype = 'x'
            WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND (
                i.indkey::int2[] && reference.conkey OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
            )
        ), '[]')
    ) ORDER BY n.nspname, c.relname, reference.conkey), '[]')
    FROM (
        -- A partition's foreign key is its table's.
        SELECT conrelid, confrelid, conkey, confkey, bool_and(confupdtype = 'c') AS follows_updates
        FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'customers'::regclass AND conparentid = 0
        GROUP BY conrelid, confrelid, conkey, confkey
    ) AS reference
    JOIN pg_class AS customers ON customers.oid = reference.confrelid
    JOIN pg_class AS c ON c.oid = reference.conrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT (
        n.oid = customers.relnamespace AND c.relname = ANY(:moved_tables)
        AND ARRAY['customer_id'] = (
            SELECT array_agg(attname::text) FROM pg_attribute
            WHERE attrelid = c.oid AND attnum = ANY(reference.conkey)
        )
    )
)"""
"""All foreign keys to customers, but for those of the tables that every merge moves: one JSON array."""


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A foreign key to customers as the catalogue has it, and what the database user may do with its rows."""

    schema_name: str
    table_name: str
    column_names: list[str]
    referenced: list[str]
    """Columns of customers."""
    label: str
    """The table, for a person: with its schema if that is not the one of customers."""
    follows_updates: bool
    """ON UPDATE CASCADE."""
    is_customers: bool
    is_partitioned: bool
    columns: list[str]
    """All of the table."""
    key: dict[str, str] | None
    """The primary key's columns with their types."""
    key_names_customers: bool
    """The primary key has another column that points to customers."""
    is_generated: bool
    may_read: bool
    may_update: bool
    hides_rows: bool
    """Row security is active for the database user."""
    unique_keys: list[dict[str, Any]]
    """Unique and exclusion constraints: ``predicate``, and ``parts`` with their operators."""

    @property
    def identity(self) -> dict[str, str]:
        """What the journal calls it."""
        return {
            "schema_name": self.schema_name,
            "table_name": self.table_name,
            "column_name": self.column_names[0],
        }

    @property
    def row_key(self) -> list[str]:
        """The primary key without the column that a merge changes."""
        return [name for name in self.key or () if name not in self.column_names]

    @property
    def source(self) -> str:
        """What to write after FROM and UPDATE: of a plain table that others inherit from, its own rows."""
        only = "" if self.is_partitioned else "ONLY "
        return f"{only}{quoted(self.schema_name)}.{quoted(self.table_name)}"

    @property
    def column(self) -> str:
        return quoted(self.column_names[0])

    def value(self, customer: str) -> str:
        """What a row has there that points to the customer whose id is the parameter of this name."""
        return f"(SELECT {', '.join(map(quoted, self.referenced))} FROM customers WHERE id = :{customer})"  # noqa: S608

    def of(self, customer: str) -> str:
        """The condition that a row points to the customer."""
        return f"({', '.join(map(quoted, self.column_names))}) = {self.value(customer)}"

    def unreadable(self) -> str | None:
        """Why the database user cannot know how many rows there are."""
        if not self.may_read:
            return "the database user may not read it"
        return "row security may hide its rows from the database user" if self.hides_rows else None

    def unmovable(self) -> str | None:
        """Why rows of it cannot move with any customer."""
        reasons = {
            "customers point to customers": self.is_customers,
            "its foreign key has several columns": len(self.column_names) > 1,
            "its column is generated": self.is_generated,
            "it has no primary key": self.key is None,
            "its primary key names several customers": self.key_names_customers,
            "the database user may not update its column": not self.may_update,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True, kw_only=True)
class ForeignRows:
    """How many rows of a foreign key each of two customers has."""

    key: ForeignKey
    survivor: int
    absorbed: int
    lacks_value: bool
    """The survivor has nothing in the column of customers that the foreign key points to."""
    collides: bool
    """A unique key of the table would have the same values for rows of both."""

    def obstacle(self, changed: Collection[str]) -> str | None:
        """Why these rows cannot move in a merge that changes these fields of the survivor."""
        key = self.key
        if (self.survivor or self.absorbed) and not key.follows_updates:
            for column in key.referenced:
                if column in changed:
                    return f"the merge changes the {column} that it points to, without ON UPDATE CASCADE"
        if not self.absorbed:
            return None
        if reason := key.unmovable():
            return reason
        if self.lacks_value:
            return f"the survivor has no {key.referenced[0]}"
        return "a unique key of it would hold the same twice" if self.collides else None


def count_rows(
    session: Session, keys: Sequence[ForeignKey], survivor_id: UUID, absorbed_id: UUID
) -> list[ForeignRows]:
    """The two customers' rows of each foreign key that the database user can read; one statement, or none."""
    readable = [key for key in keys if key.unreadable() is None]
    if not readable:
        return []
    counts = text(" UNION ALL ".join(_count(position, key) for position, key in enumerate(readable)))
    rows = session.execute(counts, {"survivor_id": survivor_id, "absorbed_id": absorbed_id}).mappings()
    return [
        ForeignRows(key=readable[row["position"]], **{k: v for k, v in row.items() if k != "position"})
        for row in rows
    ]


def obstacles(
    keys: Sequence[ForeignKey], rows: Sequence[ForeignRows], changed: Collection[str]
) -> dict[str, str]:
    """The tables whose rows cannot move, and why, in a merge that changes these fields of the survivor."""
    blocked = {key.label: reason for key in keys if (reason := key.unreadable())}
    return blocked | {row.key.label: reason for row in rows if (reason := row.obstacle(changed))}


def quoted(identifier: str) -> str:
    return escaped('"' + identifier.replace('"', '""') + '"')


def escaped(sql: str) -> str:
    """SQL of the catalogue as a part of a ``text``, where a colon would begin a parameter."""
    return sql.replace(":", "\\:")


def _count(position: int, key: ForeignKey) -> str:
    of_absorbed = key.of("absorbed_id")
    if key.is_customers:
        of_absorbed += f" OR (id = :absorbed_id AND {key.column} IS NOT NULL)"
    lacks_value = " OR ".join(
        f"EXISTS (SELECT FROM customers WHERE id = :survivor_id AND {quoted(column)} IS NULL)"
        for column in key.referenced
        if column != "id"
    )
    collisions = []
    if key.unmovable() is None:
        collisions = [_collision(key, unique) for unique in key.unique_keys]
    return f"""
        SELECT {position} AS position,
            (SELECT count(*) FROM {key.source} WHERE {key.of("survivor_id")}) AS survivor,
            (SELECT count(*) FROM {key.source} WHERE {of_absorbed}) AS absorbed,
            {lacks_value or "false"} AS lacks_value,
            {" OR ".join(collisions) or "false"} AS collides
    """  # noqa: S608 - names are quoted


def _collision(key: ForeignKey, unique: dict[str, Any]) -> str:
    """Whether a row of the absorbed customer, once it is the survivor's, has the same key as one of these."""
    columns = ", ".join(map(quoted, key.columns))
    moved = ", ".join(
        f"{key.value('survivor_id')} AS {quoted(name)}" if name in key.column_names else quoted(name)
        for name in key.columns
    )
    parts = ", ".join(f"{escaped(part)} AS part{n}" for n, (part, _) in enumerate(unique["parts"]))
    same = " AND ".join(
        f"moved.part{n} {escaped(operator)} kept.part{n}" for n, (_, operator) in enumerate(unique["parts"])
    )
    predicate = escaped(unique["predicate"] or "true")
    # An expression of the index may name its table.
    table = quoted(key.table_name)
    return f"""EXISTS (
        SELECT FROM (
            SELECT {parts} FROM (
                SELECT {moved} FROM {key.source} WHERE {key.of("absorbed_id")}
            ) AS {table} WHERE {predicate}
        ) AS moved JOIN (
            SELECT {parts} FROM (
                SELECT {columns} FROM {key.source} WHERE {key.of("survivor_id")}
            ) AS {table} WHERE {predicate}
        ) AS kept ON {same}
    )"""  # noqa: S608
