"""Alembic's entry: the ``alembic`` command and ``app.migrations`` both come through here.

Online, one job at a time, and every step with a lock timeout: see ``app.migrations.job``.
"""

from logging.config import fileConfig

from alembic import context

from crm_digital_fte import migrations
from crm_digital_fte.migrations import job
from crm_digital_fte.models import Base
from crm_digital_fte.settings import load_settings

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
        job.run_offline(context, config, settings, **options, **offline)
    else:
        with migrations.connect(config, settings) as connection:
            job.run(context, config, settings, connection, **options)


if config.cmd_opts is not None and config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

with migrations.one_line_errors(exit_code=EXIT_CODE):
    run()
