"""Embeddings from a small model that runs in this process, through the ``fastembed`` package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import EmbedderUnavailable, InvalidValue

if TYPE_CHECKING:
    from fastembed import TextEmbedding


class FastEmbedEmbedder:
    """The model is fetched from its hub and loaded at the first ``embed``, and kept from then on."""

    def __init__(self, model: str = "BAAI/bge-small-en-v1.5") -> None:
        try:
            from fastembed import TextEmbedding  # noqa: PLC0415
        except ImportError as exc:
            raise EmbedderUnavailable(
                "the package fastembed is not installed; pip install 'crm-digital-fte[fastembed]'"
            ) from exc
        sizes = {offer["model"]: offer["dim"] for offer in TextEmbedding.list_supported_models()}
        if model not in sizes:
            raise InvalidValue("model", f"fastembed knows no {model!r}")
        self._load = TextEmbedding
        self.model = model
        self.dimensions: int = sizes[model]

    def __repr__(self) -> str:
        return f"FastEmbedEmbedder(model={self.model!r}, dimensions={self.dimensions})"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._loaded.embed(list(texts))]

    def embed_query(self, text: str) -> list[float]:
        """With the prefix that the model wants before what is searched for, where it wants one."""
        vector: list[float] = next(iter(self._loaded.query_embed([text]))).tolist()
        return vector

    @cached_property
    def _loaded(self) -> TextEmbedding:
        try:
            return self._load(self.model)
        except Exception as exc:
            # The hub, the disk and the runtime fail with errors of a dozen packages.
            raise EmbedderUnavailable(
                f"the model {self.model} can be neither downloaded nor found in the cache"
            ) from exc
