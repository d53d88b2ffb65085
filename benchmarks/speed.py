"""What every call costs, beside the best that can be written by hand and beside what others do.

    python benchmarks/speed.py [--quick] [--output FOLDER] [--database-url URL]

Six contenders do the same work on the same database: our services through a session, through asyncio and on
the read-only engine; the best psycopg by hand; the seed's way (asyncpg, a statement a step); and a plain ORM
version. Calls are made in random order, so that whatever disturbs the machine disturbs all alike. Then all of
it once more through a proxy that makes each flight a millisecond longer and counts them.

Writes speed.json, speed.md and charts into the folder, and prints the bars. ``publish.py`` puts them into the
documentation. ``--quick`` measures too little for figures and shows in half a minute that everything works.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path

from _server import roomy_server
from calls import charts, report
from calls.bars import bars
from calls.run import QUICK, Plan, run

from app.testing import Databases, provision


def main() -> None:
    parser = argparse.ArgumentParser(description="What every call costs beside the same work by others.")
    parser.add_argument("--quick", action="store_true", help="too little for figures; about half a minute")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="build/benchmarks, or quick in it")
    parser.add_argument("--database-url", help="a server on which databases may be created and dropped")
    options = parser.parse_args()
    url = options.database_url
    output = options.output or Path("build/benchmarks", "quick" if options.quick else "")
    own = provision("url", url=url) if url else roomy_server()
    with own as server, closing(Databases(server)) as databases:
        result = run(databases, QUICK if options.quick else Plan())
    output.mkdir(parents=True, exist_ok=True)
    (output / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    charts.draw_run(result, output)
    (output / "speed.md").write_text(report.markdown(result, charts="."))
    missed = [bar for bar in bars(result) if not bar.met]
    for bar in missed:
        print(f"not met: {bar.demand}: {bar.subject}: {bar.figure:.2f}{bar.unit}, limit {bar.limit:.2f}")
    print(f"{len(missed)} bars of {len(bars(result))} are not met; all figures: {output}/speed.md")


if __name__ == "__main__":
    main()
