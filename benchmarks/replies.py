"""How much of a reply is told apart: the writer's own words kept, and our quoted ones gone.

    python benchmarks/replies.py

Reads the replies of the tests: mail programs in eight languages, as text and as HTML. A writer's line counts
as lost if it is not in ``new_text``, and a quote as gone if none of our lines is.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.channels.email.test_new_text import REPLIES, parsed


def main() -> None:
    replies, lines, lost, gone = Counter(), Counter(), Counter(), Counter()
    for reply in REPLIES:
        body, kind, speech, headers = reply.values
        message = parsed(body, kind, **headers)
        own = [line.lstrip("- ") for line in f"{speech.own}\n{speech.more}".split("\n") if line]
        replies[kind] += 1
        lines[kind] += len(own)
        lost[kind] += sum(line not in message.new_text for line in own)
        gone[kind] += not any(line in message.new_text for line in speech.ours.split("\n"))
    print(f"{'':6} {'replies':>8} {'lines of the writer':>20} {'lost':>6} {'quotes gone':>12}")
    for kind in replies:
        share = f"{gone[kind] / replies[kind]:.1%}"
        print(f"{kind:6} {replies[kind]:8} {lines[kind]:20} {lost[kind]:6} {share:>12}")


if __name__ == "__main__":
    main()
