"""Embeddings from OpenAI, or from any server that speaks its ``/v1/embeddings``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import EmbedderUnavailable, InvalidValue
from .base import DIMENSIONS

if TYPE_CHECKING:
    from openai.types import Embedding

# The API takes at most 300,000 tokens per request, and a token is never shorter than a byte.
_BATCH_BYTES = 300_000


class OpenAIEmbedder:
    """In batches; the ``openai`` package retries with backoff after 408, 409, 429, 5xx and lost connections.

    Vectors wider than 1,536 (text-embedding-3-large has 3,072) are asked for at 1,536, which OpenAI's third
    generation allows; of another server's model, ``matryoshka=True`` with its ``dimensions`` cuts them here.

    Without ``api_key`` and ``base_url`` the package reads OPENAI_API_KEY and OPENAI_BASE_URL. Errors tell
    the host and the kind of failure only: a server's own words may quote the key or the texts.
    """

    def __init__(
        self,
        *,
        model: str = "text-embedding-3-small",
        dimensions: int = DIMENSIONS,
        matryoshka: bool = False,
        api_key: str | None = None,
        base_url: str | None = None,
        batch_size: int = 128,
        max_retries: int = 5,
        timeout: float = 30.0,
    ) -> None:
        if dimensions < 1 or (dimensions > DIMENSIONS and not matryoshka):
            raise InvalidValue(
                "dimensions",
                f"must be between 1 and {DIMENSIONS}; wider vectors are shortened where matryoshka=True "
                "says that the model allows it",
            )
        if not 1 <= batch_size <= 2048:
            raise InvalidValue("batch_size", "must be between 1 and 2048")
        if max_retries < 0:
            raise InvalidValue("max_retries", "must not be negative")
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise InvalidValue("base_url", "must begin with http:// or https://")
        try:
            import openai  # noqa: PLC0415
        except ImportError as exc:
            raise EmbedderUnavailable(
                "the package openai is not installed; pip install 'crm-digital-fte[openai]'"
            ) from exc
        self.model = model
        self.dimensions = dimensions
        self.matryoshka = matryoshka
        self._batch_size = batch_size
        try:
            self._client = openai.OpenAI(
                api_key=api_key, base_url=base_url, max_retries=max_retries, timeout=timeout
            )
        except openai.OpenAIError:
            raise EmbedderUnavailable("the OpenAI embedder needs an API key: set OPENAI_API_KEY") from None
        # Such a key (often a file's with its newline) cannot be sent, and looks like a lost connection.
        if not all("!" <= char <= "~" for char in self._client.api_key):
            raise InvalidValue("api_key", "must hold only ASCII characters, without spaces and line ends")
        self._service = f"the embedding service at {self._client.base_url.netloc.decode()}"

    def __repr__(self) -> str:
        return f"OpenAIEmbedder(model={self.model!r}, dimensions={self.dimensions})"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector for batch in self._batches(texts) for vector in self._embed_batch(batch)]

    def embed_query(self, text: str) -> list[float]:
        return self.embed([text])[0]

    def close(self) -> None:
        """Close the connections that are kept for the next call."""
        self._client.close()

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            length = len(text.encode())
            if batch and (len(batch) == self._batch_size or size + length > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += length
        if batch:
            yield batch

    def _embed_batch(self, batch: list[str]) -> list[list[float]]:
        items = self._request(batch)
        if len(items) != len(batch):
            raise EmbedderUnavailable(f"{self._service} returned {len(items)} vectors for {len(batch)} texts")
        by_index = {item.index: item.embedding for item in items}
        if by_index.keys() != set(range(len(batch))):
            raise EmbedderUnavailable(f"{self._service} returned vectors that cannot be matched to the texts")
        return [by_index[index] for index in range(len(batch))]

    def _request(self, batch: list[str]) -> list[Embedding]:
        import openai  # noqa: PLC0415

        # Only the text-embedding-3 family can shorten its vectors; other models refuse the parameter.
        dimensions = self.dimensions if "text-embedding-3" in self.model else openai.omit
        try:
            return self._client.embeddings.create(model=self.model, input=batch, dimensions=dimensions).data
        except openai.APITimeoutError:
            problem = "did not answer in time"
        except openai.APIConnectionError:
            problem = "cannot be reached"
        except openai.APIStatusError as exc:
            problem = f"answered with HTTP status {exc.status_code}"
        except (openai.OpenAIError, AttributeError, TypeError, ValueError):
            problem = "gave an answer that is no list of embeddings"
        # Raised outside the handlers, so that nothing of the original error travels along.
        raise EmbedderUnavailable(f"{self._service} {problem} (model {self.model})")
