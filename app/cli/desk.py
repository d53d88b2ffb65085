"""What the commands share: the program itself, the database, the embedder, and who is meant."""

from __future__ import annotations

import importlib.metadata
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
from ..errors import InvalidValue, MigrationError, NotFound
from ..models import Customer, IdentifierType
from ..schemas import Identifier
from ..services import identity, merging
from ..settings import Settings, load_settings

crm = typer.Typer(
    help="The CRM data layer on the command line. The database is the one that DATABASE_URL names; "
    "without it an embedded PostgreSQL is started.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

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


def find_customer(session: Session, reference: str, region: str | None) -> Customer:
    """The customer with this address, number or id.

    Raises:
        NotFound: there is none.
        InvalidValue: it is none of the three.
    """
    if not reference.strip():
        raise InvalidValue("customer", "is empty")
    customer_id = uuid_or_none(reference)
    if customer_id is not None:
        return session.get_one(Customer, merging.current_customer_id(session, customer_id))
    if "@" in reference:
        kind = IdentifierType.EMAIL
    elif region and not any(map(str.isalpha, reference)):
        # Digits alone are dialled at home; as a WhatsApp id they would begin with the country code.
        kind = IdentifierType.PHONE
    else:
        kind = IdentifierType.WHATSAPP
    identifier = Identifier(type=kind, value=reference)
    customer = identity.find_customer(session, identifier, default_region=region)
    if customer is None:
        raise NotFound("there is no customer with this address or number")
    return customer


def example(arguments: str) -> str:
    """How the help of a command shows one call of it."""
    return f"Example: crm {arguments}"


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        try:
            typer.echo(f"crm {importlib.metadata.version('crm-digital-fte')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("crm, from a checkout that is not installed")
        raise typer.Exit


@crm.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Takes the options that stand before the command."""
