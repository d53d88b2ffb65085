"""The benchmark of the search's speed: fair turns, articles with neighbours, and a run that counts right."""

from __future__ import annotations

import math
import re
from operator import mul

import pytest
from sqlalchemy import text

ROWS, QUERIES = 400, 12


@pytest.fixture(scope="module")
def speed(benchmark):
    return benchmark("search_speed")


@pytest.mark.parametrize(("contenders", "queries"), [(3, 50), (9, 200), (1, 5), (5, 7)])
def test_everybody_asks_every_query_once_and_nobody_asks_what_another_has_just_asked(
    speed, contenders, queries
):
    turns = list(speed.turns(contenders, queries))
    for who in range(contenders):
        assert sorted(number for turn in turns for asks, number in turn if asks == who) == list(
            range(queries)
        )
    for turn in turns:
        assert len({number for _, number in turn}) == contenders
    assert {turn[0][0] for turn in turns} == set(range(contenders))


def test_vectors_have_length_one_are_the_same_for_a_seed_and_have_neighbours(benchmark):
    articles = benchmark("_articles")
    first, second = (articles.Vectors(7) for _ in range(2))
    vectors = [first.draw() for _ in range(200)]
    assert vectors == [second.draw() for _ in range(200)]
    assert all(math.isclose(math.hypot(*vector), 1) for vector in vectors)
    cosines = sorted(sum(map(mul, vectors[0], other)) for other in vectors[1:])
    assert cosines[-1] > 0.25
    assert abs(cosines[len(cosines) // 2]) < 0.2


@pytest.mark.parametrize("rows", [1, 301, 2_000, 20_000, 115_600, 10_000_000])
def test_all_look_at_as_many_candidates_as_ours(benchmark, session, rows):
    source = session.scalar(text("SELECT prosrc FROM pg_proc WHERE proname = 'search_objects'"))
    (width,) = re.findall(r"rows_of_all < 0 THEN 200 ELSE (LEAST\(.+\)) END", source)
    ours = session.scalar(text(f"SELECT ({width.replace('rows_of_all', ':rows')})::integer"), {"rows": rows})
    assert benchmark("_articles").candidates(rows) == ours


def test_a_plan_is_told_by_its_index(benchmark):
    path_of = benchmark("_contenders").path_of
    assert path_of("Limit\n  ->  Index Scan using by_vector on articles") == "by_vector"
    assert path_of("Sort\n  ->  Seq Scan on articles") == "whole table"


@pytest.mark.own_connection("settings of a session do not pass")
def test_a_small_run_finds_the_nearest_in_one_statement_and_fills_every_page(speed, crm_databases, capsys):
    url = crm_databases.clone()
    task = speed.Task(rows=ROWS, words=20, queries=QUERIES, ef_search=40, seed=3, peers=False)
    figures, filtered = speed.measure(url, task)
    crm_databases.drop(url)
    assert len(figures) == 4
    for one in figures:
        assert len(one.seconds) == QUERIES
        assert one.recall >= 0.9
        assert one.fewest == 10
    for category, (ours,) in filtered.items():
        assert ours.fewest == min(10, max(1, round(speed.SHARES[category] * ROWS)))
        assert ours.recall >= 0.9
    speed.report(figures)
    assert "search_knowledge, own sessions: " in capsys.readouterr().out
    speed.report_category("faq", filtered["faq"], ROWS)
