"""Two histories in one database: the CRM's under ``alembic_version``, ours under ``invoices_version``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL

from crm_digital_fte import migrations


def own_config(url: URL | str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url  # not an option of the file: a "%" in a URL would be interpolated
    return config


def upgrade(url: URL | str) -> None:
    """The CRM's tables first, since ours refer to them."""
    migrations.upgrade(url)
    command.upgrade(own_config(url), "head")


if __name__ == "__main__":
    upgrade(migrations.resolve_url())
