"""What all factories share: the session they build into, and how a row finds its owner."""
# factory_boy says that it is typed, and is not:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from factory.alchemy import SQLAlchemyModelFactory, SQLAlchemyOptions
from factory.declarations import LazyAttribute, Maybe, SubFactory
from sqlalchemy.orm import DeclarativeBase, Session

from ..models import Base

M = TypeVar("M", bound=DeclarativeBase)

_session: ContextVar[Session] = ContextVar("crm_factory_session")
_of_thread = threading.local()
_counting = threading.Lock()


@contextmanager
def bound_to(session: Session) -> Iterator[Session]:
    """Let the factories build into ``session`` in this thread or task."""
    token = _session.set(session)
    try:
        yield session
    finally:
        _session.reset(token)


@contextmanager
def bound_in_thread(session: Session) -> Iterator[Session]:
    """``bound_to`` for fixtures: it holds for the tasks of this thread that began before, too.

    anyio runs the tests of a module in one task where an async fixture has a wider scope than they.
    """
    outer = getattr(_of_thread, "session", None)
    _of_thread.session = session
    try:
        with bound_to(session):
            yield session
    finally:
        _of_thread.session = outer


def current_session() -> Session:
    """The session that the factories build into.

    Raises:
        RuntimeError: none is bound here.
    """
    session: Session | None = _session.get(None) or getattr(_of_thread, "session", None)
    if session is None:
        raise RuntimeError(
            "the factories have no session in this thread: use the fixture `session`, or `with bound_to(...)`"
        )
    return session


class _Options(SQLAlchemyOptions):
    def next_sequence(self) -> int:
        """The next number; factory_boy's own counter may give one number to two threads."""
        with _counting:
            number: int = super().next_sequence()
            return number


if TYPE_CHECKING:

    class _Factory(Generic[M]):
        """What type checkers see: calling a factory gives a row, and not a factory."""

        def __new__(cls, **attributes: Any) -> M: ...  # type: ignore[misc]
        @classmethod
        def build(cls, **attributes: Any) -> M: ...
        @classmethod
        def create(cls, **attributes: Any) -> M: ...
        @classmethod
        def build_batch(cls, size: int, **attributes: Any) -> list[M]: ...
        @classmethod
        def create_batch(cls, size: int, **attributes: Any) -> list[M]: ...
        @classmethod
        def _build(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any: ...
        @classmethod
        def _save(cls, model_class: type[Any], session: Session, args: Any, kwargs: Any) -> Any: ...

else:

    class _Factory(SQLAlchemyModelFactory, Generic[M]):
        # Unseen by type checkers, which would have a model's own Meta be one of these.
        class Meta:
            abstract = True
            sqlalchemy_session_factory = current_session
            sqlalchemy_session_persistence = "flush"


class CRMFactory(_Factory[M]):
    """What the factories share, and a base for those of your own models: they build into the same session.

    ``Factory.build()`` makes a row without a database.
    """

    _options_class = _Options

    @classmethod
    def _create(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any:
        # factory_boy's own way keeps the session on the class, where all threads share it.
        return cls._save(model_class, current_session(), args, kwargs)

    @classmethod
    def _adjust_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """The id of an owner that is passed as a row, also where the model has no relationship to it."""
        owners: dict[str, Any] = {
            f"{name}_id": value for name, value in kwargs.items() if isinstance(value, DeclarativeBase)
        }
        return kwargs | {column: row.id for column, row in owners.items() if column in kwargs}


def row(column: str, model: type[Base]) -> LazyAttribute:
    return LazyAttribute(lambda child: current_session().get_one(model, getattr(child, column)))


def owner(column: str, model: type[Base], maker: type[CRMFactory[Any]], **values: Any) -> Maybe:
    """The row that ``column`` names where the caller passes an id, else a new one."""
    return Maybe(column, row(column, model), SubFactory(maker, **values))
