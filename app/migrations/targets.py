"""Which database is meant, and Alembic's configuration for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from sqlalchemy import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from ..database import make_engine, normalize_url
from ..errors import InvalidValue
from ..settings import Settings, load_settings
from . import sql_files

Target = Engine | Connection | URL | str


def alembic_config(target: Target | None = None, settings: Settings | None = None) -> Config:
    """Alembic's configuration, from the checkout or from inside the wheel."""
    config = Config(sql_files.home() / "alembic.ini")
    # Not through set_main_option: configparser would interpolate a "%" in the URL.
    config.attributes.update(target=target, settings=settings)
    return config


@contextmanager
def connect(config: Config, settings: Settings) -> Iterator[Connection]:
    """The target's connection: one that the caller gave, or a new one that is closed afterwards."""
    target = config.attributes.get("target")
    if isinstance(target, Connection):
        yield target
        return
    if isinstance(target, Engine):
        # An engine in autocommit mode would leave a failed step half done.
        with target.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            yield connection
        return
    url = normalize_url(target) if target is not None else resolve_url(settings)
    engine = make_engine(
        url,
        poolclass=NullPool,
        allow_insecure_tls=settings.allow_insecure_tls,
        connect_args={"application_name": "crm-migrate"},
    )
    with engine.connect() as connection:
        yield connection


def resolve_url(settings: Settings | None = None) -> URL:
    """The database of this environment: DATABASE_URL, else the embedded server, started if need be.

    Both command lines use the same, so what they migrated is what a program sees. It is named on stderr,
    without the password. Without ``settings`` they are read from the environment.

    Raises:
        InvalidValue: DATABASE_URL is set and empty, or not the URL of a PostgreSQL database.
        EmbeddedUnavailable: the embedded server cannot run here.
    """
    settings = settings or load_settings()
    secret = settings.database_url
    # The settings take an empty variable for one that is not set.
    value = os.environ.get("DATABASE_URL") if secret is None else secret.get_secret_value()
    if value is not None and not value.strip():
        # A pipeline that lacks its secret must not be green on a database that it has just made.
        raise InvalidValue("DATABASE_URL", "is set and empty; unset it to use the embedded server")
    if secret is not None:
        url = normalize_url(secret.get_secret_value())
        note = ""
    else:
        from .. import embedded  # noqa: PLC0415 - with a DATABASE_URL nothing embedded is touched

        server = embedded.start(settings.embedded_dir, major=settings.embedded_major)
        url = normalize_url(server.url)
        note = f" (embedded PostgreSQL {server.major} in {server.directory})"
    print(f"crm: database {url.set(query={}).render_as_string(hide_password=True)}{note}", file=sys.stderr)  # noqa: T201
    return url
