"""Put the figures of a run into the documentation: its tables between two markers, its charts beside them.

    python benchmarks/publish.py [FOLDER]

The folder is where ``speed.py`` and ``growth.py`` wrote; what it does not have stays as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import growth
from calls import charts, report

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHARTS = "charts"


def publish(folder: Path, page: Path) -> list[str]:
    """Renew the blocks of the page for which there are figures; their names."""
    renewed = []
    if (folder / "speed.json").exists():
        result = json.loads((folder / "speed.json").read_text())
        charts.draw_run(result, page.parent / CHARTS)
        report.replace_block(page, "speed", report.markdown(result, CHARTS))
        renewed.append("speed")
    if (folder / "growth.json").exists():
        results = json.loads((folder / "growth.json").read_text())
        sizes = [result["messages"] for result in results]
        charts.draw_growth(sizes, growth.medians(results), page.parent / CHARTS / "growth.svg")
        report.replace_block(page, "growth", growth.markdown(results, CHARTS))
        renewed.append("growth")
    return renewed


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the figures of a run into docs/performance.md.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/benchmarks"))
    options = parser.parse_args()
    renewed = publish(options.folder, DOCS / "performance.md")
    print(f"renewed: {', '.join(renewed) or 'nothing, there are no figures'}")


if __name__ == "__main__":
    main()
