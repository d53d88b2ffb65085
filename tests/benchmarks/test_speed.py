"""The benchmark of every call: a quick run measures all it says, and its figures become a page."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def folder(benchmark, crm_databases, tmp_path_factory):
    """What a quick run has written."""
    path = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["speed.py", "--quick", "--output", str(path), "--database-url", crm_databases.server_url]
        patch.setattr(sys, "argv", arguments)
        benchmark("speed").main()
    return path


@pytest.fixture(scope="module")
def result(folder):
    return json.loads((folder / "speed.json").read_text())


@pytest.fixture(scope="module")
def operations(benchmark):
    module = benchmark("calls.operations")
    return [*module.EVERYDAY, *benchmark("calls.run").QUICK.merges]


def test_every_contender_is_measured_in_every_operation_that_it_does(result, operations, benchmark):
    expected = {
        (operation.key, contender.key)
        for operation in operations
        for contender in benchmark("calls.contenders").CONTENDERS
        if contender.does(operation)
    }
    assert {(row["operation"], row["contender"]) for row in result["rows"]} == expected


def test_calls_of_one_kind_take_the_same_flights(result):
    assert [row for row in result["rows"] if row["delayed"]["flights_vary"]] == []


def test_psycopg_by_hand_takes_one_flight_and_two_for_a_merge(result):
    for row in result["rows"]:
        if row["contender"] == "handwritten":
            assert row["delayed"]["flights"] == (2 if row["operation"].startswith("merge") else 1), row


def test_times_of_the_client_and_of_the_server_are_told_apart(result):
    for row in result["rows"]:
        assert row["median_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["client_cpu_ms"] > 0
        if sys.platform == "linux":
            assert row["server_cpu_ms"] > 0


def test_calls_a_second_are_counted_for_each_number_of_clients(result, benchmark):
    quick = benchmark("calls.run").QUICK
    crowded = {operation.key for operation in quick.crowded}
    for row in result["rows"]:
        for name in ("per_second", "delayed_per_second"):
            expected = [str(clients) for clients in quick.clients] if row["operation"] in crowded else []
            assert list(row[name]) == expected
            assert all(rate > 0 for rate in row[name].values())


def test_every_operation_with_a_bar_is_judged(result, operations, benchmark):
    judged = benchmark("calls.bars").bars(result)
    for operation in operations:
        demands = [bar.demand for bar in judged if bar.subject == operation.title]
        assert ("flights" in demands) == (operation.flights is not None)
        assert any("beyond" in demand for demand in demands) == (operation.key != "select_one")
        assert any("seed's way" in demand for demand in demands) == operation.faster_than_seed


def test_a_bar_is_met_by_what_is_fast_enough_and_by_nothing_else(result, benchmark):
    bars = benchmark("calls.bars").bars
    better, worse = deepcopy(result), deepcopy(result)
    for run, factor in ((better, 0), (worse, 1_000)):
        for row in run["rows"]:
            if row["contender"].startswith("ours"):
                for name in ("median_ms", "beyond_ms"):
                    # On a busy machine a few calls may be faster than SELECT 1.
                    row[name] = abs(row[name]) * factor
                row["delayed"]["median_ms"] *= factor
                row["delayed"]["flights"] = factor
                rates = row["per_second"]
                row["per_second"] = {clients: 1e6 if run is better else 1 / int(clients) for clients in rates}
        run["starts"] = {
            "python": 1,
            "import app.services": 2 + factor,
            "import sqlalchemy.orm, psycopg": 2,
            "alembic upgrade head": 1 + factor,
            "alembic current": 1,
        }
    assert [bar for bar in bars(better) if not bar.met] == []
    assert [bar for bar in bars(worse) if bar.met] == []


def test_a_percentile_is_a_value_that_was_measured(benchmark):
    percentile = benchmark("calls.measure").percentile
    assert percentile([1.0], 0.99) == 1.0
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile([1, 2, 3], 0.95) == 3


def test_the_report_has_every_operation_and_every_note(result, folder, operations, benchmark):
    text = (folder / "speed.md").read_text()
    for operation in operations:
        assert f"| {operation.title} |" in text
    for contender in benchmark("calls.contenders").CONTENDERS:
        for difference in contender.differs.values():
            assert difference.note in text
    for bar in benchmark("calls.bars").bars(result):
        assert f"| {bar.demand} | {bar.subject} |" in text


def test_figures_replace_those_of_the_last_run_and_nothing_else(folder, tmp_path, benchmark):
    page = tmp_path / "performance.md"
    growth = "<!-- growth -->\nkept\n<!-- /growth -->\n"
    page.write_text(f"# Before\n<!-- speed -->\nfigures of before\n<!-- /speed -->\nafter\n{growth}")
    publish = benchmark("publish").publish

    assert publish(folder, page) == ["speed"]
    first = page.read_text()
    assert publish(folder, page) == ["speed"]

    assert page.read_text() == first
    assert "figures of before" not in first
    assert first.startswith("# Before\n<!-- speed -->\n")
    assert first.endswith(f"<!-- /speed -->\nafter\n{growth}")
    for name in ("medians", "delayed", "rates"):
        assert f"](charts/{name}.svg)" in first
        assert ElementTree.parse(tmp_path / "charts" / f"{name}.svg").getroot().tag.endswith("svg")


def test_a_page_without_the_markers_is_left_alone(tmp_path, benchmark):
    page = tmp_path / "performance.md"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="0 blocks named speed"):
        benchmark("calls.report").replace_block(page, "speed", "figures")
    assert page.read_text() == "no markers"
