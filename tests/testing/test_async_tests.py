"""The fixtures and the factories in tests that are coroutines."""

from __future__ import annotations

import asyncio
from contextvars import Context

import pytest
from sqlalchemy.orm import Session

from app.testing import CustomerFactory, bound_to


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def begun_before(anyio_backend):
    """Whose task goes on to run the tests of this module, in a context without their fixtures."""
    yield
    await asyncio.sleep(0)


@pytest.mark.anyio
@pytest.mark.parametrize("turn", [1, 2])
async def test_a_factory_builds_into_the_session_of_each_test(begun_before, session: Session, turn):
    customer = CustomerFactory(email="ana@example.com")
    assert customer in session
    assert await asyncio.create_task(_built()) in session


async def _built() -> object:
    return CustomerFactory()


def test_a_block_of_its_own_counts_before_the_tests_session(session: Session, crm_clone):
    def build() -> None:
        with Session(crm_clone) as own, bound_to(own):
            assert CustomerFactory() in own
        assert CustomerFactory() in session

    Context().run(build)
