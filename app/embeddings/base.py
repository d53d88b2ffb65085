"""What an embedder is, and the checks between its vectors and the database."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence, Set
from numbers import Real
from typing import Protocol, runtime_checkable

from ..errors import CRMError, EmbedderUnavailable, InvalidValue, InvalidVector

DIMENSIONS = 1536
"""The width of every vector column; shorter vectors are padded with zeros."""

MAX_TEXT_BYTES = 1_000_000
_FLOAT32 = 2**-23
"""The database does not see a smaller difference: such a length is 1."""


class Embedder(Protocol):
    """Turns texts into vectors that lie near each other when the texts are alike."""

    @property
    def model(self) -> str:
        """Recorded beside each vector: those of two models cannot be compared."""

    @property
    def dimensions(self) -> int:
        """Of its vectors; above 1,536 they are refused.

        Unless its attribute ``matryoshka`` says that the model is trained so that the beginning of a vector
        is one by itself: then they are cut, and brought to unit length.
        """

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, in the order of the texts."""


@runtime_checkable
class QueryEmbedder(Embedder, Protocol):
    """An embedder whose model takes what is searched otherwise than what is found, such as with a prefix."""

    def embed_query(self, text: str) -> list[float]:
        """The vector to search by; ``embed`` is for what is stored."""


def prepare(vector: Sequence[float], *, dimensions: int = DIMENSIONS) -> list[float]:
    """``vector`` at unit length, padded with zeros to ``dimensions``; cosines stay as they were.

    The database computes in float32, where a norm of 1e30 overflows and one of 1e-30 is zero. At unit
    length the largest component is at least 1 / sqrt(dimensions), which float32 and float16 both hold.

    Raises:
        InvalidVector: it is not a sequence of finite numbers, is empty or too long, or has no direction.
    """
    return _at_unit_length(_numbers(vector, dimensions), dimensions)


def embed_texts(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """One prepared vector per text, checked on both sides of the embedder.

    Raises:
        InvalidValue: a text is blank, not valid Unicode or above 1 MB; the embedder was not called.
        EmbedderUnavailable: the embedder failed, or returned another number of vectors.
        InvalidVector: a vector is not of the embedder's dimensions, or cannot be stored.
    """
    if isinstance(texts, str):
        raise InvalidValue("texts", "must be a sequence of texts, not one text")
    for text in texts:
        _check_text(text)
    if not texts:
        return []
    try:
        vectors = list(embedder.embed(texts))
    except CRMError:
        raise
    except Exception as exc:
        # Only the kind of the error: its own message may quote the texts.
        raise EmbedderUnavailable(f"the embedder {embedder.model} failed: {type(exc).__name__}") from exc
    if len(vectors) != len(texts):
        raise EmbedderUnavailable(
            f"the embedder {embedder.model} returned {len(vectors)} vectors for {len(texts)} texts"
        )
    return [_checked(embedder, vector) for vector in vectors]


def embed_query(embedder: Embedder, text: str) -> list[float]:
    """The prepared vector of a text that is searched for, by the embedder's ``embed_query`` if it has one.

    Needs no database: with asyncio, call it in a thread and search by the vector.

    Raises: as ``embed_texts``.
    """
    if not isinstance(embedder, QueryEmbedder):
        return embed_texts(embedder, [text])[0]
    _check_text(text)
    try:
        vector = embedder.embed_query(text)
    except CRMError:
        raise
    except Exception as exc:
        raise EmbedderUnavailable(f"the embedder {embedder.model} failed: {type(exc).__name__}") from exc
    return _checked(embedder, vector)


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InvalidValue("text", f"must be a str, not {type(text).__name__}")
    if not text.strip():
        raise InvalidValue("text", "is blank")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidValue("text", "is not valid Unicode") from None
    if size > MAX_TEXT_BYTES:
        raise InvalidValue("text", f"has {size} bytes; at most {MAX_TEXT_BYTES} can be embedded")


def prepare_of(embedder: Embedder, vector: Sequence[float]) -> list[float]:
    """``prepare`` for a vector of this embedder: one that is too wide is cut where its model allows it.

    A vector that is prepared already stays as it is.

    Raises:
        InvalidVector: see ``prepare``; or it is not of the embedder's width, or too wide to be stored.
    """
    if embedder.dimensions <= DIMENSIONS:
        return prepare(vector)
    values = _numbers(vector, max(embedder.dimensions, DIMENSIONS))
    if not getattr(embedder, "matryoshka", False):
        raise InvalidVector(
            f"a vector of {len(values)} dimensions does not fit into {DIMENSIONS}: ask the model "
            f"{embedder.model} for {DIMENSIONS} or fewer, or set matryoshka = True on its embedder if the "
            f"first {DIMENSIONS} mean the same by themselves"
        )
    return _at_unit_length(values[:DIMENSIONS], DIMENSIONS)


def _checked(embedder: Embedder, vector: Sequence[float]) -> list[float]:
    values = _numbers(vector, max(embedder.dimensions, DIMENSIONS))
    if len(values) != embedder.dimensions:
        raise InvalidVector(
            f"the embedder {embedder.model} has {embedder.dimensions} dimensions and returned {len(values)}"
        )
    return prepare_of(embedder, values)


def _numbers(vector: Sequence[float], limit: int) -> list[float]:
    """The vector's components as floats; anything sized and iterable will do, such as a numpy array."""
    kind = type(vector).__name__
    if isinstance(vector, str | bytes | bytearray | Mapping | Set):
        raise InvalidVector(f"a vector is a sequence of numbers, not {kind}")
    try:
        size = len(vector)
        if size == 0:
            raise InvalidVector("a vector needs at least one dimension")
        if size > limit:
            raise InvalidVector(f"a vector of {size} dimensions does not fit into {limit}")
        components = list(vector)
    except TypeError:
        raise InvalidVector(f"a vector is a sequence of numbers, not {kind}") from None
    # All floats is the common case, and found out ten times faster than by looking at each.
    if set(map(type, components)) == {float}:
        return components
    for component in components:
        if isinstance(component, bool) or not isinstance(component, Real):
            raise InvalidVector(f"a vector holds numbers, not {type(component).__name__}")
    try:
        return [float(component) for component in components]
    except OverflowError:
        raise InvalidVector("a vector must hold finite numbers only") from None


def _at_unit_length(values: list[float], dimensions: int) -> list[float]:
    norm = math.hypot(*values)
    if norm == 0:
        raise InvalidVector("a vector of zeros has no direction")
    if not sys.float_info.min <= norm <= sys.float_info.max:
        if not all(map(math.isfinite, values)):
            raise InvalidVector("a vector must hold finite numbers only")
        raise InvalidVector("the length of the vector is outside of what a float can hold")
    if not math.isclose(norm, 1, rel_tol=_FLOAT32):
        values = [value / norm for value in values]
    return values + [0.0] * (dimensions - len(values))
