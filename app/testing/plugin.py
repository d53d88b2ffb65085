"""Fixtures for pytest, on a real PostgreSQL.

pytest finds them wherever this package is installed. In a checkout that is not, one line in the top
``conftest.py`` is enough: ``pytest_plugins = ["crm_digital_fte.testing.plugin"]``. Nothing starts before a
test asks for one of the fixtures, and what they need is imported then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from .postgres import Databases
    from .recorder import QueryRecorder


_NAMES = ("crm_digital_fte.testing.plugin", "app.testing.plugin")


def pytest_plugin_registered(plugin: object, plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    """Whoever asks for this plugin by its other name has it already."""
    this = sys.modules[__name__]
    if plugin is this:
        # It was named with -p: the installation's entry point comes later.
        if plugin_name != _NAMES[0]:
            manager.set_blocked(_NAMES[0])
        return
    requested = getattr(plugin, "pytest_plugins", ())
    for name in [requested] if isinstance(requested, str) else requested:
        # A project's own package ``app`` may have a plugin of the same name.
        if name in _NAMES and manager.get_plugin(name) is None and import_module(name) is this:
            manager.set_blocked(name)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("crm", "PostgreSQL for the crm fixtures")
    group.addoption(
        "--crm-db",
        choices=["auto", "url", "docker", "embedded"],
        default="auto",
        help="the server to test on; auto is the first of: url where one is given, embedded, docker",
    )
    group.addoption(
        "--crm-db-url",
        metavar="URL",
        help="a server on which databases may be created and dropped; else CRM_TEST_DATABASE_URL",
    )
    group.addoption(
        "--crm-pg-major", type=int, default=16, metavar="N", help="PostgreSQL major, embedded or docker"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the recorded statements under a failed test."""
    report = yield
    recorder = sys.modules.get(f"{__package__}.recorder")
    if recorder is not None and call.when == "call" and report.failed:
        for fixture in getattr(item, "funcargs", {}).values():
            if isinstance(fixture, recorder.QueryRecorder):
                report.sections.append(("Recorded statements", str(fixture)))
    return report


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from ..errors import CRMError  # noqa: PLC0415

    try:
        yield
    except CRMError as error:
        pytest.fail(f"crm: {error}", pytrace=False)


@pytest.fixture(scope="session")
def crm_databases(pytestconfig: pytest.Config) -> Iterator[Databases]:
    """Databases of this test process: ``clone()`` and ``empty()`` create one, ``drop(url)`` drops it."""
    from .postgres import Databases, provision  # noqa: PLC0415

    url = pytestconfig.getoption("--crm-db-url") or os.environ.get("CRM_TEST_DATABASE_URL") or None
    mode, major = pytestconfig.getoption("--crm-db"), pytestconfig.getoption("--crm-pg-major")
    with ExitStack() as stack:
        with _one_line_errors():
            server_url = stack.enter_context(provision(mode, url=url, major=major))
            databases = stack.enter_context(closing(Databases(server_url)))
        yield databases


@pytest.fixture(scope="session")
def crm_database_url(crm_databases: Databases) -> Iterator[str]:
    """A migrated database of this test process alone; what is committed to it stays for the later tests."""
    with _one_line_errors():
        url = crm_databases.clone()
    yield url
    crm_databases.drop(url)


@pytest.fixture(scope="session")
def crm_engine(crm_database_url: str) -> Iterator[Engine]:
    """An engine on that database."""
    from ..database import make_engine  # noqa: PLC0415

    engine = make_engine(crm_database_url, allow_insecure_tls=True)
    yield engine
    engine.dispose()


@pytest.fixture
def crm_session(crm_engine: Engine) -> Iterator[Session]:
    """A session whose work, commits too, is undone after the test; the factories build into it.

    What only a real commit does, such as the check of a deferred constraint, needs ``crm_clone``.
    """
    from sqlalchemy.orm import Session  # noqa: PLC0415

    from ._factory import bound_in_thread  # noqa: PLC0415

    with crm_engine.connect() as connection:
        outer = connection.begin()
        # A commit releases a savepoint only.
        bound = Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
        with bound as session, bound_in_thread(session):
            yield session
        outer.rollback()


@pytest.fixture
def session(crm_session: Session) -> Session:
    """``crm_session`` under its short name, which a project may give to a fixture of its own."""
    return crm_session


@pytest.fixture
def crm_clone(crm_databases: Databases) -> Iterator[Engine]:
    """An engine on a migrated database of this test alone, for what only real commits show."""
    from ..database import make_engine  # noqa: PLC0415

    with _one_line_errors():
        url = crm_databases.clone()
    engine = make_engine(url, allow_insecure_tls=True)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def queries(crm_engine: Engine) -> Iterator[QueryRecorder]:
    """The statements of ``session`` from here on; ``queries.reset()`` starts anew."""
    from .recorder import QueryRecorder  # noqa: PLC0415

    with QueryRecorder(crm_engine) as recorder:
        yield recorder
