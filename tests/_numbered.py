"""Very many inputs, each drawn from a number: cheap, the same in every run, named by a failure."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from random import Random
from typing import TypeVar

Input = TypeVar("Input", bound=Hashable)


def any_bytes(random: Random, *, doublings: int) -> bytes:
    """Fewer than two to the power of ``doublings``; as many of them short as long."""
    return random.randbytes(int(2 ** random.uniform(0, doublings)) - random.randint(0, 1))


def check_numbered(
    count: int, draw: Callable[[Random], Input], check: Callable[[Input], object], *, name: str
) -> None:
    """Check so many inputs, no two of them alike; a failure's note has the seed and the input."""
    seen: set[Input] = set()
    for number in range(count):
        seed = f"{name} {number}"
        random = Random(seed)
        while (drawn := draw(random)) in seen:
            pass
        seen.add(drawn)
        try:
            check(drawn)
        except Exception as error:
            error.add_note(f"input {number} of {count:,}, drawn by Random({seed!r}): {drawn!r}")
            raise
