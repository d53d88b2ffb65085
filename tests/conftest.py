import gc
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests._processes import Processes

pytest_plugins = ["app.testing.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pooled", action="store_true", help="the server's URL leads through a pooler in transaction mode"
    )


# Thousands of tests stay until the end: the collector need not look through them again and again.
@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--pooled"):
        for item in items:
            if marker := item.get_closest_marker("own_connection"):
                item.add_marker(pytest.mark.skip(f"a pooler in transaction mode: {marker.args[0]}"))


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Runs commands in processes of their own, without each importing everything."""
    with closing(Processes()) as processes:
        yield processes
