"""Alembic's entry: the ``alembic`` command and ``app.migrations`` both come through here.

Online, one job at a time, and every step with a lock timeout: see ``app._migration_job``.
"""

from logging.config import fileConfig

from alembic import context

from app import _migration_job, migrations
from app.models import Base
from app.settings import load_settings

config = context.config
EXIT_CODE = 1 if config.cmd_opts is not None else None


def run() -> None:
    settings = config.attributes.get("settings") or load_settings()
    options = {
        "target_metadata": Base.metadata,
        "version_table": settings.version_table,
        "transaction_per_migration": True,
        "compare_server_default": True,
        "include_object": migrations.is_compared,
    }
    if context.is_offline_mode():
        offline = {
            "dialect_name": "postgresql",
            "literal_binds": True,
            "dialect_opts": {"paramstyle": "named"},
        }
        _migration_job.run_offline(context, config, settings, **options, **offline)
    else:
        with migrations.connect(config, settings) as connection:
            _migration_job.run(context, config, settings, connection, **options)


if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

with migrations.one_line_errors(exit_code=EXIT_CODE):
    run()
