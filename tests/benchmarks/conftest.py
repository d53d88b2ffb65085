"""The benchmarks are programs in a folder of their own; their modules find each other there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="package")
def benchmark() -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the benchmarks by its name."""
    if not BENCHMARKS.is_dir():
        pytest.skip("the benchmarks are part of the checkout only")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield import_module
