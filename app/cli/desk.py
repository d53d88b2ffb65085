"""What the commands share: the database, the embedder, and what several take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from .. import migrations
from ..database import make_engine, make_session_factory
from ..embeddings import Embedder, get_embedder
from ..errors import MigrationError
from ..settings import Settings, load_settings

PERSON = "An email address, a phone or WhatsApp number, or an id."
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")]


@dataclass(frozen=True)
class Database:
    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]


@contextmanager
def open_database(*, at_head: bool = True) -> Iterator[Database]:
    """The database of this environment, which with ``at_head`` must be at the newest revision."""
    settings = load_settings()
    engine = make_engine(migrations.resolve_url(settings), allow_insecure_tls=settings.allow_insecure_tls)
    try:
        if at_head:
            _require_head(engine, settings)
        yield Database(settings, engine, make_session_factory(engine))
    finally:
        engine.dispose()


def _require_head(engine: Engine, settings: Settings) -> None:
    revision, head = migrations.known_revision(engine, settings=settings), migrations.head()
    if revision != head:
        raise MigrationError(
            f"the database is at revision {revision or 'none'}, not at {head}; run: crm db upgrade"
        )


def make_embedder(settings: Settings) -> Embedder:
    options: dict[str, str | None] = {}
    if settings.embedder != "lexical":
        options["model"] = settings.embedder_model
    if settings.embedder == "openai":
        key = settings.openai_api_key
        options |= {
            "base_url": settings.openai_base_url,
            "api_key": key.get_secret_value() if key else None,
        }
    return get_embedder(settings.embedder, **{name: value for name, value in options.items() if value})


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
