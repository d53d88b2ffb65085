"""Settings from the environment, read at the edges (command line, Alembic) and never inside services."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import InvalidValue, refusal

_LONGEST = 2_000_000
"""Seconds; PostgreSQL counts timeouts in milliseconds, up to 2^31."""


class Settings(BaseSettings):
    """``DATABASE_URL``, and everything else as ``CRM_*``. An empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix="CRM_",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "database_url")
    )
    """postgresql:// in any driver's spelling, or libpq's own. Without it the embedded server is used."""

    allow_insecure_tls: bool = False
    """Whether a server of another machine may be used without ``sslmode=verify-full``."""

    embedded_major: int = 16
    """PostgreSQL major of the embedded server: 16 or 18."""
    embedded_dir: Path | None = None
    """Where the embedded server keeps its data; by default ``.crm`` in the checkout, else in your home."""

    version_table: str = Field(default="alembic_version", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """Alembic's version table; rename it in a database that holds another project's history."""
    migration_wait: float = Field(default=300, gt=0, le=_LONGEST)
    """Seconds to wait for another migration job before giving up."""
    migration_lock_timeout: float = Field(default=5, ge=0.001, le=_LONGEST)
    """Seconds that a step waits for a table, which is how long it can hold up those who come after it."""
    migration_lock_retries: int = Field(default=10, ge=0)
    """How often a step that did not get its locks is tried again, after a pause as long as the timeout."""
    migration_statement_timeout: float = Field(default=0, ge=0, le=_LONGEST)
    """Seconds that one statement of a migration may take; 0 is without limit, for builds of large indexes."""

    pg_bin: Path | None = None
    """Folder with pg_dump and pg_restore for backups; by default from PATH, else the embedded server's."""

    default_region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """ISO 3166 region for phone numbers written without a country code."""

    reopen_grace_days: int = Field(default=14, ge=0, le=36_500)
    """How long after its closing ``crm tickets reopen`` opens a ticket again; later it opens a follow-up."""

    erasure_key: SecretStr | None = Field(default=None, min_length=16)
    """Under it the addresses of erased customers are kept as hashes; it must not be in the database."""

    embedder: str = "lexical"
    """lexical (built in, no model), openai or fastembed."""
    embedder_model: str | None = None
    """Which model of the embedder's; by default its own choice."""
    openai_base_url: str | None = None
    """Another server that speaks OpenAI's protocol."""
    openai_api_key: SecretStr | None = None
    """For openai; without it, what OpenAI's own library reads: OPENAI_API_KEY."""


def load_settings() -> Settings:
    """The environment's settings.

    Raises:
        InvalidValue: a variable cannot be read; names it, without its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        field, wrong = refusal(error)
        name = field.partition(".")[0] or "settings"
        variable = name if name.isupper() else f"CRM_{name.upper()}"
        raise InvalidValue(variable, wrong) from None
