"""Alembic's entry: the ``alembic`` command and ``app.migrations`` both come through here.

Online, one job at a time: an advisory lock on Alembic's own connection, polled so that a waiting job holds
no snapshot (CREATE INDEX CONCURRENTLY in the running job would wait for it), and released by the server
when its job dies.
"""

from logging.config import fileConfig

from alembic import context

from app import migrations
from app.models import Base
from app.settings import load_settings

config = context.config
with migrations.one_line_errors(exit_code=1 if config.cmd_opts is not None else None):
    settings = config.attributes.get("settings") or load_settings()
OPTIONS = {
    "target_metadata": Base.metadata,
    "version_table": settings.version_table,
    "transaction_per_migration": True,
    "compare_server_default": True,
    "include_object": migrations.is_compared,
}


def run_offline() -> None:
    context.configure(
        dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"}, **OPTIONS
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    with migrations.connect(config, settings) as connection:
        if migrations.writes(context):
            migrations.wait_for_turn(connection, settings.migration_wait)
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()


if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

with migrations.one_line_errors(exit_code=1 if config.cmd_opts is not None else None):
    if context.is_offline_mode():
        run_offline()
    else:
        run_online()
