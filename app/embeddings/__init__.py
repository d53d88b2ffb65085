"""Texts into vectors: the embedders, and the checks that every vector passes before SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InvalidValue
from .base import DIMENSIONS, Embedder, QueryEmbedder, embed_query, embed_texts, prepare, prepare_of
from .fastembed import FastEmbedEmbedder
from .lexical import LexicalEmbedder
from .openai import OpenAIEmbedder

__all__ = [
    "DIMENSIONS",
    "Embedder",
    "FastEmbedEmbedder",
    "LexicalEmbedder",
    "OpenAIEmbedder",
    "QueryEmbedder",
    "embed_query",
    "embed_texts",
    "get_embedder",
    "prepare",
    "prepare_of",
]

_EMBEDDERS: dict[str, Callable[..., Embedder]] = {
    "lexical": LexicalEmbedder,
    "openai": OpenAIEmbedder,
    "fastembed": FastEmbedEmbedder,
}


def get_embedder(name: str, **options: Any) -> Embedder:
    """The embedder of that name, built with its own options.

    Raises:
        InvalidValue: there is no embedder of that name.
        EmbedderUnavailable: its package is not installed or lacks what it needs.
    """
    if name not in _EMBEDDERS:
        raise InvalidValue("embedder", f"there is no {name!r}; known are {', '.join(_EMBEDDERS)}")
    return _EMBEDDERS[name](**options)
