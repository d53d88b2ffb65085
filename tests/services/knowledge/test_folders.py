"""A folder of documents in one call: what cannot be used is reported, and the others go on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue
from app.schemas import FolderReport
from app.services import knowledge


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five documents in two folders, and files that are none."""
    root = tmp_path / "docs"
    for name, text in {
        "b.md": "# B\nText b.",
        "a.txt": "Text a.",
        "guides/start.markdown": "# Start\nText.",
        "guides/deep/page.HTML": "<h1>Page</h1><p>Text.",
        "guides/old.htm": "<p>Old",
        "logo.svg": "<svg/>",
        "README": "none of ours",
        ".hidden.md": "# Hidden\n",
        ".git/notes.md": "# Hidden\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


NAMES = ["a.txt", "b.md", "guides/deep/page.HTML", "guides/old.htm", "guides/start.markdown"]


def ingest(session: Session, folder: Path, **options: object) -> FolderReport:
    return knowledge.ingest_folder(session, folder, **{"category": "faq", "embedder": None} | options)


def test_every_document_is_ingested_under_its_path_in_the_folder(session, folder):
    told = []
    report = ingest(
        session, folder, embedder=LexicalEmbedder(), progress=lambda done, total: told.append((done, total))
    )
    assert [one.source for one in report.documents] == NAMES
    assert [(one.added, one.embedded) for one in report.documents] == [(1, 1)] * 5
    assert report.problems == ()
    assert told == [(done, 5) for done in range(1, 6)]
    (page,) = knowledge.list_articles(session, source="guides/deep/page.HTML")
    assert page.title == "Page"


def test_a_folder_ingested_again_changes_nothing(session, folder):
    ingest(session, folder)
    assert [one.unchanged for one in ingest(session, folder).documents] == [1] * 5


def test_links_that_lead_out_of_the_folder_are_not_followed(session, folder):
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("# Secret\n")
    (folder / "file.md").symlink_to(outside / "secret.md")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "again.md").symlink_to(folder / "b.md")
    assert [one.source for one in knowledge.documents_in(folder)] == sorted([*NAMES, "again.md"])


def test_a_pipe_is_no_document(folder):
    os.mkfifo(folder / "pipe.md")
    assert [one.source for one in knowledge.documents_in(folder)] == NAMES


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"caf\xe9", "document: is not UTF-8"),
        (b"\xff\xfe#\x00", "document: is not UTF-8"),
        (b"", "text: must not be empty"),
        (b"\xef\xbb\xbf", "text: must not be empty"),
        (b"a\x00b", "text: holds a character that cannot be stored"),
        (b"<!-- nothing -->", "text: has no content"),
    ],
)
def test_a_file_that_cannot_be_used_is_reported_and_the_others_go_on(session, folder, content, problem):
    (folder / "b.md").write_bytes(content)
    report = ingest(session, folder)
    assert [(one.source, one.problem) for one in report.problems] == [("b.md", problem)]
    assert len(report.documents) == 4


def test_a_file_that_cannot_be_read_is_reported(session, folder):
    (folder / "gone.md").symlink_to(folder / "nothing.md")
    (report,) = ingest(session, folder).problems
    assert (report.source, report.problem) == (
        "gone.md",
        "document: cannot be read: No such file or directory",
    )


def test_a_path_too_long_for_a_source_and_one_that_is_no_text_are_reported(session, folder):
    deep = folder / ("d" * 200) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "x.md").write_text("# X\n")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")).write_text("# Y\n")
    problems = [one.problem for one in ingest(session, folder).problems]
    assert sorted(problems) == [
        "source: holds a character that cannot be stored",
        "source: must not be longer than 255 characters",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(session, folder):
    (folder / "b.md").write_bytes(b"\xef\xbb\xbf# B\nText")
    ingest(session, folder)
    assert [one.title for one in knowledge.list_articles(session, source="b.md")] == ["B"]


class Fails(LexicalEmbedder):
    calls = 0

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls += 1
        if self.calls > 1:
            raise TimeoutError
        return super().embed(texts)


def test_once_the_embedder_has_failed_the_rest_is_only_stored(session, folder):
    embedder = Fails()
    report = ingest(session, folder, embedder=embedder)
    assert embedder.calls == 1 + 3 + 1, "once for the first document, three times and a probe for the second"
    assert [one.added for one in report.documents] == [1] * 5
    assert [one.unembedded for one in report.documents] == [0, 1, 1, 1, 1]
    assert [bool(one.embedding_error) for one in report.documents] == [False, True, True, True, True]
    again = ingest(session, folder, embedder=LexicalEmbedder())
    assert [one.embedded for one in again.documents] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("missing", ["nothing", "b.md"])
def test_what_is_no_folder_is_refused(session, folder, missing):
    with pytest.raises(InvalidValue, match="is not a folder"):
        ingest(session, folder / missing)


def test_a_folder_below_that_cannot_be_read_is_not_passed_over_in_silence(session, folder, monkeypatch):
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InvalidValue, match="cannot be read: Permission denied"):
        ingest(session, folder)


def test_an_unknown_category_is_refused_before_anything_is_read(session, folder):
    with pytest.raises(InvalidValue, match="category"):
        ingest(session, folder, category="novels")
    assert knowledge.list_articles(session, source="b.md") == []


def test_a_file_of_another_kind_is_refused(session, folder):
    with pytest.raises(InvalidValue, match=r"does not end in \.md"):
        knowledge.ingest_document(
            session, folder / "logo.svg", source="logo", category="faq", embedder=LexicalEmbedder()
        )
