"""The checks of ``app.doctor``, in the order in which they are made: what others rest on comes first."""

from __future__ import annotations

from . import _doctor_schema as schema
from . import _doctor_vectors as vectors
from .doctor import ACTOR, Check, Patient, Severity
from .health import probe
from .models import Base
from .schemas import Fate, HistoryFault
from .services import backfill

OLDEST_POSTGRESQL = 16
OURS = ", ".join(f"'{name}'" for name in Base.metadata.tables)

_VECTOR_VERSION = (
    "(SELECT string_to_array(extversion, '.')::int[] FROM pg_extension WHERE extname = 'vector')"
)
_NUMBERED = "SELECT max(substring(ticket_number FROM '^TKT-([0-9]{1,18})$')::bigint) AS highest FROM tickets"
# What came between a merge and its undoing stays with the survivor when the conversation goes back.
_LEFT_BY_UNMERGE = """
    EXISTS (
        SELECT FROM customer_merge_moves AS move JOIN customer_merges AS merge ON merge.id = move.merge_id
        WHERE move.table_name = 'conversations' AND move.row_id = conversation.id
            AND move.returned_at IS NOT NULL AND item.created_at BETWEEN merge.merged_at AND move.returned_at
    )
"""
# As revision 0017 does; a database that was restored or copied has lost them.
_NOT_SET = """
    FROM (VALUES ('random_page_cost', '1.1'), ('hnsw.iterative_scan', 'strict_order')) AS ours(name, value)
    WHERE current_setting(name, true) IS DISTINCT FROM value AND NOT EXISTS (
        SELECT FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database(),
            unnest(s.setconfig) AS made
        WHERE s.setrole = 0 AND made LIKE ours.name || '=%'
    )
"""
_SET_FOR_SEARCHES = f"""
    DO $$
    DECLARE
        missing record;
    BEGIN
        PERFORM '[1]'::vector;  -- loads the extension, whose settings are then known
        FOR missing IN SELECT name, value {_NOT_SET} LOOP
            EXECUTE format('ALTER DATABASE %I SET %s = %L', current_database(), missing.name, missing.value);
        END LOOP;
    END $$
"""


def _of_another_customer(table: str, *, explained: bool) -> str:
    return f"""
        SELECT item.id::text FROM {table} AS item
        JOIN conversations AS conversation ON conversation.id = item.conversation_id
        WHERE item.customer_id <> conversation.customer_id AND {"" if explained else "NOT"} {_LEFT_BY_UNMERGE}
    """  # noqa: S608 - names of our own


def _faults_of_records(patient: Patient, *, unrecorded: bool) -> list[str]:
    return [
        f"{finding.ticket_number} ({finding.record}): {finding.problem}"
        for finding in patient.records
        if (finding.fault is HistoryFault.UNRECORDED) is unrecorded
    ]


def _addresses(patient: Patient, *fates: Fate) -> list[str]:
    return [f"{value.column} of {value.row_id}" for fate in fates for value in patient.addresses.of(fate)]


def _normalize(patient: Patient) -> None:
    region = patient.settings.default_region
    patient.write(backfill.normalize_identifiers, actor=ACTOR, default_region=region)


def _renumber(patient: Patient) -> None:
    # The lock keeps others from drawing a number in between.
    patient.run(f"""
        LOCK TABLE tickets IN SHARE ROW EXCLUSIVE MODE;
        SELECT setval('ticket_number_seq', GREATEST(highest, last_value))
        FROM ({_NUMBERED}) AS tickets, ticket_number_seq
    """)  # noqa: S608 - no input


CONNECTION = Check(
    "connection",
    Severity.ERROR,
    "the database cannot be used",
    "look at the server, the address and the password",
    lambda patient: filter(
        None, [probe(patient.engine, version_table=patient.settings.version_table).problem]
    ),
)
CHECKS = [
    Check(
        "postgresql_version",
        Severity.ERROR,
        f"the server is older than PostgreSQL {OLDEST_POSTGRESQL}",
        "upgrade the server",
        "SELECT current_setting('server_version') "
        f"WHERE current_setting('server_version_num')::int < {OLDEST_POSTGRESQL}0000",
        needs_schema=False,
    ),
    Check(
        "pgvector_missing",
        Severity.ERROR,
        "the extension vector is missing, or older than 0.8",
        "install pgvector 0.8.4 or newer; CREATE EXTENSION vector, or ALTER EXTENSION vector UPDATE",
        f"SELECT 'vector' WHERE COALESCE({_VECTOR_VERSION} < '{{0,8}}', true)",
        needs_schema=False,
    ),
    Check(
        "pgvector_version",
        Severity.WARNING,
        "pgvector before 0.8.4 can damage HNSW indexes in VACUUM, and before 0.8.2 a parallel HNSW build can "
        "read another relation's memory (CVE-2026-3172)",
        "update pgvector, then ALTER EXTENSION vector UPDATE, then REINDEX the HNSW indexes",
        f"SELECT array_to_string({_VECTOR_VERSION}, '.') "
        f"WHERE {_VECTOR_VERSION} BETWEEN '{{0,8}}' AND '{{0,8,3}}'",
        needs_schema=False,
    ),
    Check(
        "revision",
        Severity.ERROR,
        "the schema is not at the newest revision; what rests on it was not looked at",
        "crm db upgrade, or a newer version of this package",
        schema.wrong_revision,
        needs_schema=False,
    ),
    Check(
        "guards",
        Severity.ERROR,
        "triggers or functions that keep the rules are missing, disabled or changed",
        "crm doctor --fix puts them back; then look for what went past them in the meantime",
        schema.guards,
        schema.repair_guards,
    ),
    Check(
        "indexes",
        Severity.ERROR,
        "indexes are invalid: a build was interrupted, and searches do without them",
        "crm doctor --fix, or REINDEX INDEX CONCURRENTLY",
        schema.invalid_indexes,
        schema.repair_indexes,
    ),
    Check(
        "catalogue",
        Severity.ERROR,
        "the schema is not the one that the migrations make",
        "crm db check shows every difference; put back what was changed by hand",
        schema.other_differences,
    ),
    Check(
        "no_roles",
        Severity.INFO,
        "the database has no roles of its own: everybody who logs in as its owner may do everything",
        "crm db roles",
        schema.missing_roles,
    ),
    Check(
        "rights",
        Severity.ERROR,
        "roles may do more, or less, than they should",
        "crm doctor --fix, or crm db roles",
        schema.wrong_rights,
        schema.repair_roles,
    ),
    Check(
        "unused_indexes",
        Severity.INFO,
        "no query has used these indexes since the server's statistics began",
        "if that is long ago, and no standby uses them, they only cost writes",
        f"""
        SELECT format('%s, %s', indexrelid::regclass, pg_size_pretty(pg_relation_size(indexrelid)))
        FROM pg_stat_user_indexes JOIN pg_index USING (indexrelid)
        WHERE idx_scan = 0 AND NOT indisunique AND relname IN ({OURS})
            AND pg_relation_size(indexrelid) > 1000000
        """,  # noqa: S608 - names of our own
    ),
    Check(
        "hnsw",
        Severity.WARNING,
        "searches do not use their HNSW indexes",
        "crm db check; ANALYZE the tables; REINDEX INDEX CONCURRENTLY",
        vectors.unused_hnsw,
    ),
    Check(
        "search_settings",
        Severity.INFO,
        "searches in plain SQL may read whole tables or find too little (search_objects does not)",
        "crm doctor --fix as the database's owner, or ALTER DATABASE ... SET",
        f"SELECT format('%s should be %s', name, value) {_NOT_SET}",
        lambda patient: patient.run(_SET_FOR_SEARCHES),
    ),
    Check(
        "tickets",
        Severity.ERROR,
        "tickets are not what the last entry of their record says: somebody got round the triggers",
        "find out who; then set the ticket to what is right, which is recorded",
        lambda patient: _faults_of_records(patient, unrecorded=True),
    ),
    Check(
        "records",
        Severity.ERROR,
        "entries of tickets' records were changed, removed or added by hand",
        "keep it as evidence, and compare with a backup; a record is never mended",
        lambda patient: _faults_of_records(patient, unrecorded=False),
    ),
    Check(
        "ticket_numbers",
        Severity.ERROR,
        "the next ticket would get a number that is taken",
        "crm doctor --fix sets the sequence behind the highest number",
        f"""
        SELECT highest::text FROM ({_NUMBERED}) AS tickets, ticket_number_seq
        WHERE highest >= last_value + is_called::int
        """,  # noqa: S608
        _renumber,
    ),
    Check(
        "redirects",
        Severity.ERROR,
        "absorbed customers do not lead to a living one in one step",
        "point customer_redirects.customer_id at the customer who has the rows today",
        """
        SELECT r.absorbed_id::text FROM customer_redirects AS r
        WHERE EXISTS (SELECT FROM customer_redirects AS next WHERE next.absorbed_id = r.customer_id)
            OR EXISTS (SELECT FROM customers WHERE id = r.absorbed_id)
            OR NOT EXISTS (SELECT FROM customers WHERE id = r.customer_id)
        """,
    ),
    Check(
        "uncanonical_addresses",
        Severity.WARNING,
        "addresses are stored in a spelling that is not looked for",
        "crm doctor --fix, which takes on 1,000 each time; or crm customers normalize",
        lambda patient: _addresses(patient, Fate.REWRITTEN, Fate.JOINED),
        _normalize,
    ),
    Check(
        "colliding_addresses",
        Severity.WARNING,
        "several customers have one address in different spellings",
        "crm customers duplicates: merge them, or correct one of them",
        lambda patient: _addresses(patient, Fate.COLLISION),
    ),
    Check(
        "unreadable_addresses",
        Severity.INFO,
        "addresses that can be no address, or are nobody's, find no customer",
        "correct or clear them",
        lambda patient: _addresses(patient, Fate.UNREADABLE),
    ),
    Check(
        "addresses_of_others",
        Severity.WARNING,
        "customers' profiles have an address that identifies another customer",
        "crm customers duplicates: merge the two, or correct the profile",
        """
        SELECT c.id::text FROM customers AS c
        JOIN customer_identifiers AS i ON i.identifier_type = 'email' AND i.identifier_value = lower(c.email)
        WHERE i.customer_id <> c.id
        UNION
        SELECT c.id::text FROM customers AS c
        JOIN customer_identifiers AS i ON i.identifier_type IN ('phone', 'whatsapp')
            AND i.identifier_value = '+' || regexp_replace(c.phone, '[^0-9]', '', 'g')
        WHERE i.customer_id <> c.id
        """,
    ),
    Check(
        "customers_without_identifiers",
        Severity.INFO,
        "customers whom another backend stored are known by their profile only",
        "nothing: they get their identifiers with their next message",
        """
        SELECT id::text FROM customers AS c
        WHERE email NOT LIKE '%@placeholder.invalid'
            AND NOT EXISTS (SELECT FROM customer_identifiers WHERE customer_id = c.id)
        """,
    ),
    Check(
        "messages_of_others",
        Severity.ERROR,
        "messages belong to another customer than their conversation",
        "find out whose they are, and set the other's customer_id",
        _of_another_customer("messages", explained=False),
    ),
    Check(
        "tickets_of_others",
        Severity.ERROR,
        "tickets belong to another customer than their conversation",
        "find out whose they are, and set the other's customer_id",
        _of_another_customer("tickets", explained=False),
    ),
    Check(
        "left_by_unmerge",
        Severity.INFO,
        "messages came between a merge and its undoing, and stayed with the survivor",
        "decide whose they are, and set customer_id",
        _of_another_customer("messages", explained=True),
    ),
    Check(
        "embedding_models",
        Severity.WARNING,
        "embeddings of one table are by different models, and are no neighbours of each other",
        "embed all of them with one model",
        vectors.mixed_models,
    ),
    Check(
        "zero_vectors",
        Severity.ERROR,
        "embeddings have no direction, so that no search finds them",
        "crm doctor --fix removes them, so that they are made again",
        vectors.zero_vectors,
        vectors.remove_zero_vectors,
    ),
]
