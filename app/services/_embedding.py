"""What embedding articles, messages and tickets has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ..embeddings import Embedder, embed_texts
from ..errors import EmbedderUnavailable, Invalid
from ._input import checked_text

Progress = Callable[[int, int], None]
"""Called with what is done and the total, after each batch."""

BATCH = 100
"""Texts that an embedder gets at a time."""
MAX_LIMIT = 1_000_000
"""Objects that one call may be limited to."""
_ATTEMPTS = 3
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))


def checked_model(embedder: Embedder) -> str:
    """The name of the embedder's model, if it can be kept.

    Raises:
        InvalidValue: it is no text of 1 to 255 characters.
    """
    return checked_text("embedder.model", getattr(embedder, "model", None), max_length=255)


def is_blank(text: Any) -> Any:
    """Whether there is nothing to embed, by Python's idea of what a space is."""
    return func.btrim(text, _SPACES) == ""


def embed_with_retries(embedder: Embedder, texts: Sequence[str]) -> list[list[float] | None]:
    """A vector per text; None for a text that fails alone, while the embedder takes others.

    Equal texts are embedded once. A failing embedder is asked three times.

    Raises:
        EmbedderUnavailable: it failed each time, with the shortest text too.
        InvalidVector: likewise, what it gives cannot be stored.
    """
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
        if len(different) == 1 or not _takes(embedder, min(different, key=len)):
            raise
        vectors = _one_by_one(embedder, different)
    return [vectors.get(text) for text in texts]


def _takes(embedder: Embedder, text: str) -> bool:
    try:
        embed_texts(embedder, [text])
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
