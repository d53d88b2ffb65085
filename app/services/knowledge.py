"""The knowledge base: keeping the articles' embeddings up to date."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ._article_embeddings import embed_articles
from ._embedding import Progress


def embed_missing(
    session: Session, embedder: Embedder, *, source: str | None = None, progress: Progress | None = None
) -> int:
    """Embed the active articles that have no embedding by this model of their present text; return how many.

    While the base answers by another model, the new embeddings are kept beside it, and take over all at once
    when no article lacks one; until then searches go on with the old ones. ``source`` limits the call to one
    document. An article's text is never touched. ``progress(done, total)`` is called after each batch. A
    failing embedder is asked three times.

    Locks the rows of each batch (FOR UPDATE) until the caller's transaction ends and passes over those that
    somebody else has locked, so several workers can share the work.

    Raises:
        InvalidValue: the model has no name of 1 to 255 characters.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    return embed_articles(session, embedder, source=source, progress=progress)
