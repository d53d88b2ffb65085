"""A text cut to a length: after a sentence, else after a word, never within what is read as one letter."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...schemas import LengthUnit

# With the quotes and brackets that close after it. Where scripts have no spaces, a sentence ends without one.
_SENTENCE_END = re.compile(
    "[.!?\u2026\u061f\u06d4\u0964\u0965\u0589\u1362\u1367\u17d4\u104b]+[\"'\u201d\u2019\u00bb)\\]]*(?=\\s|\\Z)"
    r"(?!(?<=[0-9]\.)\s+(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember)\b)"
    "|[\u3002\uff01\uff1f\uff61]+[\u300d\u300f\uff09\u3011\u201d\u2019]*|\n\\s*\n"
)
# "2." before the second step, "e.g.", "p.m." and "Dr." end nothing; nor does "3." in a German date.
_NO_END = re.compile(
    r"(?:^[^\S\n]*\d{1,3}|\b[^\W\d_]\.[^\W\d_]"
    r"|\b(?:Dra?|Mrs?|Ms|Prof|Sra?|Mme|M|St|vs|approx|bzw|ca|inkl|Nr|vgl|zzgl))\.\Z",
    re.MULTILINE,
)
_LONGEST_NO_END = 20
_ADDRESS = re.compile(r"https?://[!-~]+")
_JOINER = "\u200d"
# A text without spaces is not one word: a piece counts one for each 20 letters.
_LETTERS_OF_A_WORD = 20
_MARK = " \u2026"


def length_of(body: str, unit: LengthUnit) -> int:
    """How long a text is."""
    if unit is LengthUnit.CHARACTERS:
        return len(body)
    return sum(-(-len(piece) // _LETTERS_OF_A_WORD) for piece in body.split())


def shortened(body: str, limit: int, unit: LengthUnit) -> str:
    """The sentences at the beginning of ``body`` that fit, at least some words of the first one.

    A web address is cut, and a word, only where it alone is too long.
    """
    if length_of(body, unit) <= limit:
        return body
    if end := _last_that_fits(body, list(_sentence_ends(body)), limit, unit, ""):
        return body[:end].rstrip()
    words = [match.start() for match in re.finditer(r"\s", body)]
    letters = list(_letter_ends(body))
    addresses = [match.span() for match in _ADDRESS.finditer(body)]
    outside = [end for end in letters if not any(first < end < last for first, last in addresses)]
    for mark in (_MARK, ""):
        for places in (words, outside, letters):
            if end := _last_that_fits(body, places, limit, unit, mark):
                return body[:end].rstrip() + mark
    return body[:limit]


def _sentence_ends(body: str) -> Iterator[int]:
    for match in _SENTENCE_END.finditer(body):
        before = body[max(0, match.start() - _LONGEST_NO_END) : match.start() + 1]
        if not _NO_END.search(before):
            yield match.end()


def _letter_ends(body: str) -> Iterator[int]:
    """Where a letter ends with its marks, and an emoji with all that it is joined of."""
    flags = 0
    for place, (before, letter) in enumerate(pairwise(body), 1):
        flags = flags + 1 if _is_half_a_flag(before) else 0
        is_within = (
            _JOINER in {before, letter}
            or unicodedata.category(letter).startswith("M")
            or "\U0001f3fb" <= letter <= "\U0001f3ff"
            or "\U000e0020" <= letter <= "\U000e007f"
            or "\u1160" <= letter <= "\u11ff"
            or (flags % 2 == 1 and _is_half_a_flag(letter))
        )
        if not is_within:
            yield place


def _is_half_a_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def _last_that_fits(body: str, ends: Sequence[int], limit: int, unit: LengthUnit, mark: str) -> int:
    """Where the longest beginning ends that fits with its mark, by bisection; 0 where none does."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        piece = body[: ends[middle]].rstrip() + mark
        low, high = (middle + 1, high) if length_of(piece, unit) <= limit else (low, middle)
    return ends[low - 1] if low and body[: ends[low - 1]].strip() else 0
