"""An embedder that needs no model, no network and no training: hashed words and pieces of words.

It is lexical, not semantic: texts are near when they share words, stems or spellings, so a typo or an
inflection does little harm, but "car" and "automobile" are strangers. Cosines of good matches are low
(0.2 to 0.6), since a question shares only few words with an article.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from .base import DIMENSIONS

_STOP_WORDS = frozenset(  # a list of quoted words would take a page
    "a about after all also am an and any are as at be been before but by can cant could did do does dont "  # noqa: SIM905
    "for from get got had has have he hello her here hey hi him his how i if im in into is it its ive just "
    "like me my no not now of on or our out please she so some than thank thanks that thats the their them "
    "then there these they this those to too up us was we were what whats when where which who why will with "
    "would you your".split()
)
_STOP_WEIGHT = 0.1
_PAIR_WEIGHT = 0.5

# Scripts without spaces, or with words of a few characters: overlapping pairs stand for words.
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
# The upper limit keeps the pieces of an endless "word" (a pasted key or file) few enough to cache.
_RUN = re.compile(rf"(?P<dense>[{_DENSE}]+)|[^\s{_DENSE}]{{1,32}}")
_SUFFIX = re.compile(r"(?<=[a-z0-9]{3})(?:ings?|ies?|ed|es|[esy])$")
_DOUBLED = re.compile(r"([b-df-hj-np-tv-z])\1$")


class LexicalEmbedder:
    """Deterministic: the same text gives the same vector in every process, whatever PYTHONHASHSEED is."""

    model = "lexical-1536-v1"
    dimensions = DIMENSIONS

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed([text])[0]


def _embed(text: str) -> list[float]:
    words = _words(text)
    vector = [0.0] * DIMENSIONS
    for word, count in Counter(words or text).items():
        weight = _damped(count) * (_STOP_WEIGHT if word in _STOP_WORDS else 1.0)
        for slot, share in _word_features(word):
            vector[slot] += weight * share
    content = [_stem(word) for word in words if word not in _STOP_WORDS]
    for pair, count in Counter(pairwise(content)).items():
        slot, sign = _slot(f"pair {' '.join(pair)}")
        vector[slot] += _PAIR_WEIGHT * sign * _damped(count)
    norm = math.hypot(*vector)
    if norm == 0:
        # Nothing at all, or features that cancel each other out: the text as a whole is the feature.
        vector[_slot(f"text {text}")[0]] = norm = 1.0
    return [value / norm for value in vector]


def _damped(count: int) -> float:
    return 1 + math.log(count)


def _words(text: str) -> list[str]:
    folded = "".join(map(_fold, unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())))
    words: list[str] = []
    for run in _RUN.finditer(unicodedata.normalize("NFC", folded)):
        word = run.group()
        if run["dense"] and len(word) > 1:
            words += map("".join, pairwise(word))
        else:
            words.append(word)
    return words


@lru_cache(maxsize=16_384)
def _fold(char: str) -> str:
    """The character itself; nothing for accents and invisible marks; a space for what separates words."""
    category = unicodedata.category(char)
    if "\u0300" <= char <= "\u036f" or category == "Cf" or char in "'\u2019":
        return ""
    return char if category[0] in "LMN" else " "


def _stem(word: str) -> str:
    return _DOUBLED.sub(r"\1", _SUFFIX.sub("", word))


@lru_cache(maxsize=4_096)
def _word_features(word: str) -> tuple[tuple[int, float], ...]:
    """The word's slots in the vector: its stem, and its pieces of 3 to 5 characters."""
    marked = f"<{word}>"
    pieces = [marked[i : i + size] for size in (3, 4, 5) for i in range(len(marked) - size + 1)]
    # All pieces together count as much as the word itself.
    share = 1 / math.sqrt(len(pieces))
    slots = [_slot(f"piece {piece}") for piece in pieces]
    return _slot(f"word {_stem(word)}"), *((slot, sign * share) for slot, sign in slots)


@lru_cache(maxsize=32_768)
def _slot(feature: str) -> tuple[int, float]:
    """Where the feature lives in the vector, and with which sign, so that collisions cancel on average."""
    number = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return number % DIMENSIONS, 1.0 if number >> 63 else -1.0
