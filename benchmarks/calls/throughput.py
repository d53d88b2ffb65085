"""Calls a second of one process with several clients: threads, or tasks of an asynchronous contender."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from .contenders import Contender
from .measure import WARM_UP, Supply
from .operations import Operation

CLIENTS = (1, 4, 16)


def calls_per_second(
    url: str,
    operation: type[Operation],
    contender: Contender,
    supply: Supply,
    *,
    clients: int,
    seconds: float,
) -> float:
    """Let so many clients call as often as they can for so long."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        stack.callback(loop.close)
        connected = contender.connect(url, loop, clients)
        for client in {id(client): client for client in connected}.values():
            stack.callback(client.close)
        methods = [client.method(operation) for client in connected]
        drawing = threading.Lock()

        def draw() -> Any:
            with drawing:
                return supply.next(operation, contender)

        if contender.asynchronous:
            return loop.run_until_complete(_by_tasks(methods, draw, seconds))
        return _by_threads(methods, draw, seconds)


def _by_threads(methods: Sequence[Callable[[Any], Any]], draw: Callable[[], Any], seconds: float) -> float:
    ready = threading.Barrier(len(methods))

    def work(method: Callable[[Any], Any]) -> tuple[int, float, float]:
        for _ in range(WARM_UP):
            method(draw())
        ready.wait(60)
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            method(draw())
            done += 1
        return done, began, time.perf_counter()

    with ThreadPoolExecutor(len(methods)) as pool:
        return _rate(list(pool.map(work, methods)))


async def _by_tasks(
    methods: Sequence[Callable[[Any], Any]], draw: Callable[[], Any], seconds: float
) -> float:
    ready = asyncio.Barrier(len(methods))

    async def work(method: Callable[[Any], Any]) -> tuple[int, float, float]:
        for _ in range(WARM_UP):
            await method(draw())
        await ready.wait()
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            await method(draw())
            done += 1
        return done, began, time.perf_counter()

    return _rate(await asyncio.gather(*(work(method) for method in methods)))


def _rate(done: Sequence[tuple[int, float, float]]) -> float:
    calls = sum(count for count, _, _ in done)
    return calls / (max(end for _, _, end in done) - min(began for _, began, _ in done))
