"""Charts of a run and of the growth, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from .contenders import CONTENDERS

COLOURS = {
    "ours": "#1f5fa8",
    "ours_async": "#5b9bd5",
    "ours_read_only": "#a9cbe8",
    "handwritten": "#2e8b57",
    "seed_way": "#d98c21",
    "plain_orm": "#b03a48",
}
# The same figures give the same file: no date, and ids that do not change.
mpl.rcParams.update({"svg.hashsalt": "crm", "font.size": 9, "svg.fonttype": "none"})


def draw_run(result: Mapping[str, Any], folder: Path) -> None:
    """medians.svg, delayed.svg and rates.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {(row["operation"], row["contender"]): row for row in reversed(result["rows"])}
    titles = {row["operation"]: row["title"] for row in result["rows"]}
    medians = {key: row["median_ms"] for key, row in rows.items()}
    _bars(titles, medians, "milliseconds, median", folder / "medians.svg")
    slow = {key: row["delayed"]["median_ms"] for key, row in rows.items()}
    label = f"milliseconds, median, {result['delay_ms']:g} ms a flight"
    _bars(titles, slow, label, folder / "delayed.svg")
    _rates({key: rows["ingest_known", key]["per_second"] for key in COLOURS if ("ingest_known", key) in rows},
        folder / "rates.svg")  # fmt: skip


def draw_growth(sizes: Sequence[int], medians: Mapping[str, Sequence[float]], path: Path) -> None:
    """The median of each operation over the size of the base, both logarithmic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8, 6))
    axes.set_prop_cycle(mpl.cycler(linestyle=["-", "--"]) * mpl.cycler(color=mpl.colormaps["tab20"].colors))
    for title, values in medians.items():
        axes.plot(sizes, values, marker="o", label=title)
    axes.set(xscale="log", yscale="log", xlabel="messages", ylabel="milliseconds, median")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    _save(figure, path)


def _bars(titles: Mapping[str, str], values: Mapping[tuple[str, str], float], label: str, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(9, 0.75 * len(titles) + 1))
    height = 0.8 / len(CONTENDERS)
    for place, contender in enumerate(CONTENDERS):
        at = [
            (number + place * height, values[key, contender.key])
            for number, key in enumerate(titles)
            if (key, contender.key) in values
        ]
        axes.barh(
            [y for y, _ in at],
            [value for _, value in at],
            height,
            label=contender.title,
            color=COLOURS[contender.key],
        )
    axes.set(xscale="log", xlabel=label)
    axes.set_yticks([number + 0.4 - height / 2 for number in range(len(titles))], list(titles.values()))
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.6 / len(titles)), ncols=3, frameon=False)
    _save(figure, path)


def _rates(rates: Mapping[str, Mapping[str, float]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4))
    for contender in CONTENDERS:
        some = rates.get(contender.key)
        if some:
            axes.plot(
                [int(clients) for clients in some],
                list(some.values()),
                marker="o",
                label=contender.title,
                color=COLOURS[contender.key],
            )
    axes.set(xlabel="clients", ylabel="known senders' messages a second", ylim=(0, None))
    axes.legend(frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
