"""Folders of documents."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import Invalid, InvalidValue, file_problem
from ...models import KnowledgeCategory
from ...schemas import (
    DocumentProblem,
    FolderReport,
    IngestReport,
    KnowledgeCategoryCode,
)
from .._shared.checks import checked_code
from .ingestion import MAX_DOCUMENT, Progress, ingest_html, ingest_markdown, ingest_text

INGEST = {
    ".md": ingest_markdown,
    ".markdown": ingest_markdown,
    ".html": ingest_html,
    ".htm": ingest_html,
    ".txt": ingest_text,
}
"""What is done with a file of each ending."""

_MAX_BYTES = 4 * MAX_DOCUMENT


class Document(NamedTuple):
    """A file, and the source that its articles get."""

    source: str
    path: Path


def documents_in(folder: Path) -> list[Document]:
    """The documents below a folder by their paths in it, which are their sources: ``guides/start.md``.

    Hidden files and folders are left out, and so are links to folders and links that lead out of this one.

    Raises:
        InvalidValue: it is no folder, or it or one below it cannot be read.
    """
    return sorted(
        Document(path.relative_to(folder).as_posix(), path)
        for path in files_below(folder)
        if path.suffix.lower() in INGEST
    )


def files_below(folder: Path) -> list[Path]:
    """The files below a folder in the order of their paths in it.

    Hidden files and folders are left out, and so are links to folders and links that lead out of this one.

    Raises:
        InvalidValue: it is no folder, or it or one below it cannot be read.
    """
    if not folder.is_dir():
        raise InvalidValue("folder", "is not a folder")
    root = os.path.realpath(folder)
    files = []
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if _is_inside(path, root) and _is_plain(path)]
    return sorted(files, key=lambda path: path.relative_to(folder))


def _unreadable(error: OSError) -> None:
    raise InvalidValue("folder", f"cannot be read: {file_problem(error)}") from None


def _is_inside(path: Path, root: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)


def _is_plain(path: Path) -> bool:
    """A file, or nothing, which is then reported; not a pipe, which would never end."""
    return path.is_file() or not path.exists()


def ingest_document(
    session: Session,
    path: Path,
    *,
    source: str,
    category: KnowledgeCategoryCode,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> IngestReport:
    """Ingest one file: Markdown (``.md``, ``.markdown``), HTML (``.html``, ``.htm``) or text (``.txt``).

    The rest is as for ``ingest_markdown``.

    Raises:
        InvalidValue: another ending; the file cannot be read or is not UTF-8; or what ``ingest_markdown``
            refuses. Nothing was written.
    """
    ingest = INGEST.get(path.suffix.lower())
    if ingest is None:
        raise InvalidValue("document", f"does not end in {', '.join(INGEST)}")
    return ingest(
        session, _read(path), source=source, category=category, embedder=embedder, progress=progress
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue("document", "is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise InvalidValue("document", f"cannot be read: {file_problem(error)}") from None


def ingest_folder(
    session: Session,
    folder: Path,
    *,
    category: KnowledgeCategoryCode,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> FolderReport:
    """Ingest the documents below a folder, in the order of ``documents_in``, all in the caller's transaction.

    A file that cannot be used is reported, and the others go on. Once the embedder has failed, the rest is
    only stored. ``progress(done, total)`` is told of files. A file that is no longer there keeps its articles
    until ``deactivate(session, source=...)``.

    Raises:
        InvalidValue: no folder, one below it that cannot be read, or an unknown category.
    """
    category = checked_code("category", category, KnowledgeCategory)

    def ingest(document: Document, embedder: Embedder | None) -> IngestReport:
        return ingest_document(
            session, document.path, source=document.source, category=category, embedder=embedder
        )

    return ingest_each(documents_in(folder), ingest, embedder, progress)


def ingest_each(
    documents: Sequence[Document],
    ingest: Callable[[Document, Embedder | None], IngestReport],
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> FolderReport:
    """``ingest`` one after the other, each perhaps in a transaction of its own."""
    reports: list[IngestReport] = []
    problems: list[DocumentProblem] = []
    failure: str | None = None
    for done, document in enumerate(documents, 1):
        try:
            report = ingest(document, None if failure else embedder)
        except Invalid as error:
            problems.append(DocumentProblem(source=document.source, problem=str(error)))
        else:
            if failure and report.unembedded:
                report = report.model_copy(update={"embedding_error": failure})
            failure = failure or report.embedding_error
            reports.append(report)
        if progress is not None:
            progress(done, len(documents))
    return FolderReport(documents=tuple(reports), problems=tuple(problems))
