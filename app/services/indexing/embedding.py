"""What embedding articles, messages and tickets has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

from sqlalchemy import Row

from ...embeddings import Embedder, embed_texts
from ...errors import EmbedderUnavailable, Invalid, InvalidValue
from ...schemas import RefusedText
from .._shared.checks import checked_text

Progress = Callable[[int, int], None]
"""Called with what is done and the total, after each batch."""

BATCH = 100
"""Texts that an embedder gets at a time."""
MAX_LIMIT = 1_000_000
"""Objects that one call may be limited to."""
_ATTEMPTS = 3
_PROBE = "hello"
"""Whether an embedder works is asked with this: a text of the base may be the one that it refuses."""
SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""What Python takes for a space: a text of nothing else is not embedded."""


def checked_model(embedder: Embedder) -> str:
    """The name of the embedder's model, if it can be kept with the width of its vectors.

    Raises:
        InvalidValue: it is no text of 1 to 255 characters, or the width is no whole number above 0.
    """
    dimensions = getattr(embedder, "dimensions", None)
    if isinstance(dimensions, bool) or not isinstance(dimensions, Integral) or dimensions < 1:
        raise InvalidValue("embedder.dimensions", "must be a whole number above 0")
    return checked_text("embedder.model", getattr(embedder, "model", None), max_length=255)


def check_width(embedder: Embedder, stored: int | str | None) -> None:
    """Refuse an embedder whose model is stored under the same name with vectors of another width.

    Raises:
        InvalidValue: so it is; padded with zeros, the vectors could be compared and would mean nothing.
    """
    if stored is not None and str(stored) != str(embedder.dimensions):
        raise InvalidValue(
            "embedder.dimensions",
            f"is {embedder.dimensions}, and what is stored of {embedder.model} has {stored}: "
            "two widths are two models, and need two names",
        )


def embed_with_retries(embedder: Embedder, texts: Sequence[str]) -> list[list[float] | None]:
    """A vector per text; None for a text that the embedder refuses, while it takes another.

    Equal texts are embedded once. A failing embedder is asked three times.

    Raises:
        EmbedderUnavailable: it failed each time, and with a word of ours too.
        InvalidVector: likewise, what it gives cannot be stored.
    """
    from tenacity import (  # noqa: PLC0415 - not before an embedder is there
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        wait_random_exponential,
    )

    different = list(dict.fromkeys(texts))
    retrying = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        retry=retry_if_exception_type(EmbedderUnavailable),
        reraise=True,
    )
    try:
        vectors = dict(zip(different, retrying(embed_texts, embedder, different), strict=True))
    except (EmbedderUnavailable, Invalid):
        # Is it the embedder, or a text? One that is too long for the model must not stop the others.
        if not _works(embedder):
            raise
        vectors = _one_by_one(embedder, different)
    return [vectors.get(text) for text in texts]


def _works(embedder: Embedder) -> bool:
    try:
        embed_texts(embedder, [_PROBE])
    except (EmbedderUnavailable, Invalid):
        return False
    return True


def _one_by_one(embedder: Embedder, failed: list[str]) -> dict[str, list[float]]:
    """The vectors of all but what fails alone: halves of what fails, until it is one text."""
    vectors: dict[str, list[float]] = {}
    waiting = [failed]
    while waiting:
        some = waiting.pop()
        half = len(some) // 2
        for part in (some[:half], some[half:]) if half else ():
            try:
                vectors.update(zip(part, embed_texts(embedder, part), strict=True))
            except (EmbedderUnavailable, Invalid):
                waiting.append(part)
    return vectors


def refusals(rows: Sequence[Row[Any]]) -> dict[str, Any]:
    """What a status says of refused texts."""
    return {
        "refused": rows[0].number if rows else 0,
        "refused_texts": tuple(
            RefusedText(id=row.id, model=row.model, failures=row.failures, try_at=row.try_at) for row in rows
        ),
    }
