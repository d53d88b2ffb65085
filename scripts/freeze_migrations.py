"""At a release ``alembic/released.sha256`` names every revision and SQL file with its hash: none may change.

They have made databases. ``--check``, in ``make lint``, names those that differ, as
``sha256sum --check`` does.
Before the first release the list does not exist, and everything may be edited.
"""

from __future__ import annotations

import argparse
import sys
from hashlib import sha256
from pathlib import Path

ALEMBIC = Path(__file__).resolve().parents[1] / "alembic"
LIST = ALEMBIC / "released.sha256"


def digests() -> dict[str, str]:
    files = sorted([*ALEMBIC.glob("versions/*.py"), *ALEMBIC.glob("sql/*.sql")])
    return {file.relative_to(ALEMBIC).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}


def released() -> dict[str, str]:
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.exists() else []
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def changed() -> list[str]:
    present = digests()
    return [name for name, digest in released().items() if present.get(name) != digest]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only look whether what is released is unchanged"
    )
    only_check = parser.parse_args().check
    problems = [
        f"alembic/{name} is released and has changed, or is gone: put it back, and write the next version"
        for name in changed()
    ]
    if not problems and not only_check:
        LIST.write_text(
            "".join(f"{digest}  {name}\n" for name, digest in digests().items()), encoding="utf-8"
        )
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
