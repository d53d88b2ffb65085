"""What the search for duplicates is worth, and what it costs: no square of the number of customers."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from app.database import make_engine
from app.services import duplicates
from app.services.duplicates.blocking import MOST_HOLDERS, PAIRS

ARGUMENTS = {"most": MOST_HOLDERS, "unseen": 1}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = Path(__file__).resolve().parents[3] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are part of the checkout only")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "duplicates", raising=False)
    import duplicates as module

    return module


def most_rows(connection: Connection) -> int:
    """Of all steps of the statement, the rows of the one that has most, those that it throws away too."""
    explain = text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {PAIRS.text}")
    (whole,) = connection.execute(explain, ARGUMENTS).scalar_one()

    def steps(plan: dict[str, Any]) -> list[float]:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        rows += plan.get("Rows Removed by Join Filter", 0)
        return [rows * plan["Actual Loops"], *(n for child in plan.get("Plans", []) for n in steps(child))]

    return round(max(steps(whole["Plan"])))


def test_of_the_pairs_offered_by_default_98_in_100_are_one_person(benchmark, crm_clone):
    figures = benchmark.measure(crm_clone, 2000, seed=5)
    precision, recall, offered = figures.at(duplicates.DEFAULT_MIN_SCORE)
    assert offered > 50
    assert precision >= 0.98
    assert recall >= 0.5
    with crm_clone.connect() as connection:
        plan = connection.execute(text(f"EXPLAIN {PAIRS.text}"), ARGUMENTS).scalars().all()
    # Customers are joined by hash or in order; each with each would be quadratic.
    assert all("<" in line for line in plan if "Join Filter" in line), "\n".join(plan)


def test_four_times_the_customers_are_about_four_times_the_work(benchmark, crm_databases):
    worked = []
    for size in (1000, 4000):
        database = crm_databases.clone()
        engine = make_engine(database)
        benchmark.measure(engine, size, seed=5)
        with engine.connect() as connection:
            worked.append(most_rows(connection))
        engine.dispose()
        crm_databases.drop(database)
    # The square would be sixteen times.
    assert worked[0] > 1000
    assert worked[1] < 6 * worked[0]


def test_names_of_a_hundred_words_do_not_multiply_the_work(crm_clone: Engine):
    """Anybody can type them into a form."""
    words = [one + other for one, other in product("abcdefghij", repeat=2)]
    insert = text("""
        INSERT INTO customers (email, name)
        SELECT 'person' || n || '@example.com', :name FROM generate_series(1, 20) AS n
    """)
    with crm_clone.connect() as connection:
        connection.execute(insert, {"name": " ".join(words[:84])})
        assert most_rows(connection) < 50_000
