"""Connections whose prepared statements outlive a rollback.

psycopg forgets all of them at every rollback, since one may be of a table that is gone with it. But a session
that only reads and is closed ends with a rollback, too: then every search and every look-up is planned anew,
and costs a flight more wherever something had been prepared. The server itself looks again at a statement
whose tables have changed. After a failed statement, and where psycopg has more to do, it is as ever.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from psycopg import AsyncConnection, Connection, generators
from psycopg.pq import PipelineStatus, TransactionStatus


def _is_plain(connection: Connection[Any] | AsyncConnection[Any]) -> bool:
    """Whether a bare ROLLBACK is all that is to be done."""
    connected = connection.pgconn
    return (
        connected.transaction_status == TransactionStatus.INTRANS
        and connected.pipeline_status == PipelineStatus.OFF
    )


def _roll_back(connection: Connection[Any] | AsyncConnection[Any]) -> Generator[Any, Any, None]:
    connection.pgconn.send_query(b"ROLLBACK")
    yield from generators.execute(connection.pgconn)


class SyncConnection(Connection[Any]):
    def rollback(self) -> None:
        if _is_plain(self):
            with self.lock:
                self.wait(_roll_back(self))
        super().rollback()  # nothing, or what has gone wrong


class AsynchronousConnection(AsyncConnection[Any]):
    async def rollback(self) -> None:
        if _is_plain(self):
            async with self.lock:
                await self.wait(_roll_back(self))
        await super().rollback()
