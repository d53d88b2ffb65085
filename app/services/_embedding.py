"""What embedding articles, messages and tickets has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ..embeddings import Embedder, embed_texts
from ..errors import EmbedderUnavailable
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
    return checked_text("embedder.model", embedder.model, max_length=255)


def is_blank(text: Any) -> Any:
    """Whether there is nothing to embed, by Python's idea of what a space is."""
    return func.btrim(text, _SPACES) == ""


def embed_with_retries(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """A vector per text; equal texts are embedded once. A failing embedder is asked three times.

    Raises:
        EmbedderUnavailable: it failed each time.
        InvalidVector: a vector cannot be stored.
    """
    different = list(dict.fromkeys(texts))
    retrying = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        retry=retry_if_exception_type(EmbedderUnavailable),
        reraise=True,
    )
    vectors = dict(zip(different, retrying(embed_texts, embedder, different), strict=True))
    return [vectors[text] for text in texts]
