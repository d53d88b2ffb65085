"""What the tests of all services share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from app.testing import QueryRecorder


@pytest.fixture
def assert_static(session: Session) -> Callable[..., None]:
    """Check that a warm call sends the same statement objects each time and compiles nothing.

    ``call`` gets its number, so that it can change something each time. ``by_orm``: the ORM makes statements
    of its own for it, so that only what is compiled counts.
    """

    def check(call: Callable[[int], object], *, by_orm: bool = False) -> None:
        for number in range(2):
            call(number)
        with QueryRecorder(session) as queries:
            call(2)
            earlier = list(queries.constructs)
            queries.reset()
            call(3)
        assert earlier, "the call sends nothing"
        assert not queries.compiled, f"compiled again: {queries.compiled}"
        assert len(earlier) == len(queries.constructs), queries
        built = [
            statement
            for before, after, statement in zip(earlier, queries.constructs, queries.statements, strict=True)
            if before is not after
        ]
        assert by_orm or not built, f"built for each call: {built}"
        assert built or not by_orm, "nothing is built: the ORM makes no statement for it"

    return check
