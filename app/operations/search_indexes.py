"""Care for the indexes of searches: rebuilt while everything goes on, and the language of their words."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import CRMError, InvalidValue
from ..migrations import require_session
from ..models import Base


def _indexes(method: str, suffix: str = "") -> dict[str, str]:
    return {
        str(index.name): table.name
        for table in Base.metadata.sorted_tables
        for index in sorted(table.indexes, key=lambda index: str(index.name))
        if index.dialect_options["postgresql"]["using"] == method and str(index.name).endswith(suffix)
    }


VECTOR_INDEXES = _indexes("hnsw")
"""Index -> its table."""
WORD_INDEXES = _indexes("gin", "_words")
"""Those that depend on how words are read."""

Progress = Callable[[str, int, int], None]
"""Called, from another thread, with the phase, what is done of it, and its total."""

_OF_A_BUILD = "the settings of a build"
_POLL = 0.5
_MEMORY = re.compile(r"([1-9][0-9]{0,5})(MB|GB)")
_MOST_MEMORY = 2047 * 1024  # in megabytes; the server takes no more
# Not every version has each of them.
_SET = text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
_PROGRESS = text("""
    SELECT phase,
        CASE WHEN tuples_done > 0 THEN tuples_done ELSE blocks_done END,
        CASE WHEN tuples_done > 0
            THEN GREATEST(tuples_done, tuples_total, reltuples::bigint) ELSE blocks_total END
    FROM pg_stat_progress_create_index JOIN pg_class ON pg_class.oid = relid WHERE pid = :pid
""")
# What an interrupted rebuild leaves: a second index beside the first one, which is not valid.
_LEFTOVERS = text("""
    SELECT i.indexrelid::regclass::text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND c.relname ~ ('^' || :name || '_cc(new|old)[0-9]*$')
        AND i.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(:name))
""")
_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_DICTIONARIES = text("""
    SELECT token.alias, string_agg(format('%I', d.dictname), ', ' ORDER BY m.mapseqno)
    FROM pg_ts_config AS c
    JOIN pg_ts_config_map AS m ON m.mapcfg = c.oid
    JOIN pg_ts_dict AS d ON d.oid = m.mapdict
    JOIN ts_token_type('default') AS token ON token.tokid = m.maptokentype
    WHERE c.cfgnamespace = 'pg_catalog'::regnamespace AND c.cfgname = :language
    GROUP BY token.alias
""")
_LANGUAGES = text(
    "SELECT cfgname FROM pg_ts_config WHERE cfgnamespace = 'pg_catalog'::regnamespace ORDER BY cfgname"
)
_ACCENTS_FOLDED = "Accents are folded."
"""A comment on the configuration, which ``text_words`` reads: it has no options of its own."""
_FOLDS_ACCENTS = text("""
    SELECT COALESCE(obj_description('crm'::regconfig, 'pg_ts_config') = :comment, false)
""")
# The one whose dictionaries are the same for every kind of word.
_LANGUAGE = text("""
    SELECT c.cfgname FROM pg_ts_config AS c
    WHERE c.cfgnamespace = 'pg_catalog'::regnamespace AND NOT EXISTS (
        (SELECT maptokentype, mapseqno, mapdict FROM pg_ts_config_map WHERE mapcfg = c.oid)
        EXCEPT SELECT maptokentype, mapseqno, mapdict FROM pg_ts_config_map WHERE mapcfg = 'crm'::regconfig
    )
""")


def reindex(
    engine: Engine,
    names: Collection[str] = VECTOR_INDEXES,
    *,
    memory: str = "1GB",
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Build search indexes anew, one after the other, while reads and writes go on (REINDEX CONCURRENTLY).

    ``memory`` and ``workers`` are for this build only: a graph that fits into memory is built many times
    faster. What an interrupted rebuild left is dropped first, and each index is valid in the end. Waits for
    transactions that are older than the build.

    Raises:
        InvalidValue: there is no such index, or the memory or the number of workers makes no sense.
        MigrationError: the connection goes through a pooler in transaction mode.
        CRMError: an index is not valid after its build.
    """
    unknown = [str(name) for name in names if name not in (*VECTOR_INDEXES, *WORD_INDEXES)]
    if unknown:
        raise InvalidValue("names", f"there is no search index {', '.join(unknown)}")
    read = _MEMORY.fullmatch(str(memory))
    if read is None or int(read[1]) * (1024 if read[2] == "GB" else 1) > _MOST_MEMORY:
        raise InvalidValue("memory", "must read like 512MB or 2GB, and be less than 2,048 GB")
    if workers not in range(65):
        raise InvalidValue("workers", "must be from 0 to 64")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        require_session(connection, _OF_A_BUILD)
        settings = {
            "maintenance_work_mem": memory,
            "max_parallel_maintenance_workers": str(int(workers)),
            # Vectors are stored out of line, so their table looks too small for workers.
            "min_parallel_table_scan_size": "0",
            "statement_timeout": "0",
            "lock_timeout": "0",
            "transaction_timeout": "0",
        }
        try:
            for name, value in settings.items():
                connection.execute(_SET, {"name": name, "value": value})
            for name in names:
                with _watched(engine, connection, name, progress):
                    _rebuild(connection, name)
        finally:
            # The settings are the session's: it must not go back into the pool.
            connection.invalidate()


def _rebuild(connection: Connection, name: str) -> None:
    for leftover in connection.scalars(_LEFTOVERS, {"name": name}).all():
        connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {leftover}"))
    connection.execute(text(f"REINDEX INDEX CONCURRENTLY {name}"))
    if connection.scalar(_VALID, {"name": name}) is not True:
        raise CRMError(f"the index {name} is not valid after its build; run it again")


@contextmanager
def _watched(engine: Engine, connection: Connection, name: str, progress: Progress | None) -> Iterator[None]:
    """Tell ``progress`` from a second connection how far the build is."""
    if progress is None:
        yield
        return
    pid = connection.scalar(text("SELECT pg_backend_pid()"))
    ended = threading.Event()

    def watch() -> None:
        # A build needs no audience: where it cannot be watched, it goes on unseen.
        with suppress(SQLAlchemyError), engine.connect() as watching:
            while not ended.wait(_POLL):
                row = watching.execute(_PROGRESS, {"pid": pid}).first()
                watching.rollback()
                if row is not None:
                    progress(f"{name}: {row[0]}", row[1] or 0, row[2] or 0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def set_language(
    engine: Engine, language: str, *, fold_accents: bool = False, progress: Progress | None = None
) -> None:
    """Read words in another language from now on: ``portuguese``, ``spanish``, or ``simple`` for none.

    With ``fold_accents`` a letter is the same with and without its accents, as in "senha invalida". Changes
    the text search configuration ``crm`` and builds the indexes of words anew. Until they are done, searches
    by words miss what the old language wrote in another way. Takes the rights of their owner.

    Raises:
        InvalidValue: PostgreSQL has no such language, or ``fold_accents`` is no boolean.
        MigrationError: the connection goes through a pooler in transaction mode; nothing was changed.
    """
    if not isinstance(fold_accents, bool):
        raise InvalidValue("fold_accents", "must be True or False")
    with engine.connect() as connection:
        languages = connection.scalars(_LANGUAGES).all()
        if language not in languages:
            raise InvalidValue("language", f"must be one of {', '.join(languages)}")
        require_session(connection, _OF_A_BUILD)
    comment = f"'{_ACCENTS_FOLDED}'" if fold_accents else "NULL"
    with engine.begin() as connection:
        for token, names in connection.execute(_DICTIONARIES, {"language": language}).all():
            connection.execute(
                text(f"ALTER TEXT SEARCH CONFIGURATION crm ALTER MAPPING FOR {token} WITH {names}")
            )
        connection.execute(text(f"COMMENT ON TEXT SEARCH CONFIGURATION crm IS {comment}"))
    reindex(engine, WORD_INDEXES, progress=progress)


def language(connection: Connection) -> str | None:
    """The language in which words are read; None if somebody has made a configuration of their own."""
    name: str | None = connection.scalar(_LANGUAGE)
    return name


def folds_accents(connection: Connection) -> bool:
    """Whether a letter is the same with and without its accents."""
    return bool(connection.scalar(_FOLDS_ACCENTS, {"comment": _ACCENTS_FOLDED}))
