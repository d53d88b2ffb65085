"""The one place that commits: a unit of work in a transaction, run again where that helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ..errors import CommitUnknown, ConcurrentChange, DatabaseUnavailable, explain, from_database, sqlstate

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

T = TypeVar("T")

RETRYABLE = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the same transaction may succeed: serialization, deadlock, lock not available."""


def transaction(
    sessions: sessionmaker[Session],
    work: Callable[..., T],
    /,
    *args: Any,
    retries: int = 3,
    **kwargs: Any,
) -> T:
    """Run ``work(session, ...)`` in a transaction of its own and commit it.

    After a deadlock, a serialization failure or a lock timeout the whole of ``work`` runs again in a new
    transaction, ``retries`` times at most, with growing random pauses; so it does after a connection that was
    lost before the commit, since the server has then rolled back. So ``work`` must have no effects outside
    the database. Any other error rolls back and is raised.

    Raises:
        DatabaseUnavailable: the server cannot be reached, or was lost again and again; or no connection of
            the pool became free in time.
        CommitUnknown: the connection was lost during the commit. It is not retried, since nobody knows
            whether it took effect.
        CRMError: one of the database's rules refused; the typed error that it means.
    """
    attempt = _Attempt()

    def once() -> T:
        attempt.is_committing = False
        with sessions.begin() as session:
            result = work(session, *args, **kwargs)
            session.flush()
            attempt.is_committing = True
        return result

    try:
        return Retrying(**attempt.policy(retries))(once)
    except (DBAPIError, PoolTimeout) as error:
        attempt.raise_typed(error)
        raise


async def transaction_async(
    sessions: async_sessionmaker[AsyncSession],
    work: Callable[..., T],
    /,
    *args: Any,
    retries: int = 3,
    **kwargs: Any,
) -> T:
    """The same for asyncio: ``work`` is a service, or a function like one, and gets a plain session.

    It runs by ``AsyncSession.run_sync``: only the database is waited for without holding up the event loop,
    so that an embedder does not belong into ``work``.

    Raises: as ``transaction``.
    """
    attempt = _Attempt()

    async def once() -> T:
        attempt.is_committing = False
        async with sessions.begin() as session:
            result = await session.run_sync(work, *args, **kwargs)
            await session.flush()
            attempt.is_committing = True
        return result

    try:
        return await AsyncRetrying(**attempt.policy(retries))(once)
    except (DBAPIError, PoolTimeout) as error:
        attempt.raise_typed(error)
        raise


class _Attempt:
    """How far a try has come, and what its failure means then."""

    is_committing = False

    def policy(self, retries: int) -> dict[str, Any]:
        return {
            "stop": stop_after_attempt(retries + 1),
            "wait": wait_random_exponential(multiplier=0.02, max=1),
            "retry": retry_if_exception(self._may_run_again),
            "reraise": True,
        }

    def _may_run_again(self, error: BaseException) -> bool:
        return is_retryable(error) or (not self.is_committing and _is_lost(error))

    def raise_typed(self, error: DBAPIError | PoolTimeout) -> None:
        """Raise what the error means; return for one that is nobody's fault but the statement's."""
        # Not chained: the database's text repeats the refused row.
        if self.is_committing and _is_lost(error):
            raise CommitUnknown from None
        meaning = from_database(error) or explain(error)
        if from_database(error) is not None or isinstance(meaning, DatabaseUnavailable):
            raise meaning from None


def is_retryable(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    return isinstance(error, ConcurrentChange) or sqlstate(error) in RETRYABLE


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated
