"""Any labelled set of texts, from a file of numpy's (which need not be installed), as a knowledge base.

Arrays: ``vectors, texts, labels`` of what is searched; ``queries`` (vectors), ``query_texts`` and
``query_labels`` of the questions; and perhaps ``unanswerable, unanswerable_texts`` of questions that nothing
answers. A hit is right if it has the question's label.
"""

from __future__ import annotations

import ast
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from _articles import connect_binary
from pgvector import Vector
from psycopg.types.json import Jsonb
from sqlalchemy.orm import Session

from app.database import make_engine
from app.embeddings import prepare
from app.models import uuid7
from app.testing import Databases, provision

_FLOATS = {"<f2": "e", "<f4": "f", "<f8": "d"}
_INTEGERS = {"|i1": "b", "|u1": "B", "<i2": "h", "<i4": "i", "<i8": "q"}


_NEEDED = ("vectors", "texts", "labels", "queries", "query_texts", "query_labels")
_TOGETHER = (
    ("vectors", "texts", "labels"),
    ("queries", "query_texts", "query_labels"),
    ("unanswerable", "unanswerable_texts"),
)


class BadSet(Exception):
    """The file is no labelled set; says why."""


def read_arrays(file: Path) -> dict[str, list[Any]]:
    """Every array of an ``.npz`` file: texts and numbers, or rows of numbers.

    Raises:
        BadSet: it cannot be read, or an array is of what is neither.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                arrays[name.removesuffix(".npy")] = _array(archive.read(name))
    except zipfile.BadZipFile:
        raise BadSet("is no .npz file") from None
    except OSError as error:
        raise BadSet(error.strerror or "cannot be read") from None
    except (ValueError, LookupError, SyntaxError, TypeError, struct.error) as error:
        raise BadSet(f"the array {name.removesuffix('.npy')}: {error}") from None
    return arrays


def checked(arrays: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The arrays, if a set can be made of them.

    Raises:
        BadSet: one is missing or empty, two do not match, or texts are none or rows of several widths.
    """
    if missing := [name for name in _NEEDED if not arrays.get(name)]:
        raise BadSet(f"has nothing in {', '.join(missing)}")
    for names in _TOGETHER:
        counts = {name: len(arrays.get(name, ())) for name in names}
        if len(set(counts.values())) > 1:
            raise BadSet(", ".join(f"{count} {name}" for name, count in counts.items()) + " do not match")
    for name in ("texts", "query_texts", "unanswerable_texts"):
        if not all(isinstance(one, str) and one.strip() for one in arrays.get(name, ())):
            raise BadSet(f"{name} must be texts, none of them empty")
    rows = [row for name in ("vectors", "queries", "unanswerable") for row in arrays.get(name, ())]
    if not all(isinstance(row, list) for row in rows) or len({len(row) for row in rows}) != 1:
        raise BadSet("vectors, queries and unanswerable must be rows of one width")
    return arrays


def _array(raw: bytes) -> list[Any]:
    wide = raw[6] > 1  # the format's version: how long the header's length is
    (length,) = struct.unpack_from("<I" if wide else "<H", raw, 8)
    start = (12 if wide else 10) + length
    header = ast.literal_eval(raw[start - length : start].decode("latin-1"))
    kind, shape = header["descr"], header["shape"]
    data = raw[start:]
    if header["fortran_order"] and len(shape) > 1:
        raise ValueError("an array must be stored row by row")
    if 0 in shape:
        return []
    if kind.startswith("<U"):
        size = 4 * int(kind[2:])
        return [
            data[at : at + size].decode("utf-32-le").rstrip("\0") for at in range(0, size * shape[0], size)
        ]
    code = (_FLOATS | _INTEGERS).get(kind)
    if code is None:
        raise ValueError(f"is of {kind}; texts (<U), integers and floats are read")
    values = struct.unpack_from(f"<{len(data) // struct.calcsize(code)}{code}", data)
    if len(shape) == 1:
        return list(values)
    return [list(values[at : at + shape[1]]) for at in range(0, len(values), shape[1])]


class LabelledSet:
    """The texts as articles, and an embedder that knows the vectors of all questions."""

    model = "labelled-set"

    def __init__(self, file: Path) -> None:
        arrays = checked(read_arrays(file))
        self.texts, self.vectors, self.labels = (arrays[name] for name in ("texts", "vectors", "labels"))
        self.questions: list[tuple[str, Any]] = list(
            zip(arrays["query_texts"], arrays["query_labels"], strict=True)
        )
        self.unanswerable: list[str] = arrays.get("unanswerable_texts", [])
        self.dimensions = len(self.vectors[0])
        self._vectors = dict(zip(arrays["query_texts"], arrays["queries"], strict=True))
        self._vectors |= dict(zip(self.unanswerable, arrays.get("unanswerable", []), strict=True))
        self.label_of: dict[UUID, Any] = {}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._vectors[text] for text in texts]

    @contextmanager
    def loaded(self, database_url: str | None = None) -> Iterator[Session]:
        """A session on a new database whose articles are the texts."""
        with provision("auto", url=database_url) as url, closing(Databases(url)) as databases:
            database = databases.clone()
            self._load(database)
            engine = make_engine(database)
            with Session(engine) as session:
                yield session
            engine.dispose()
            databases.drop(database)

    def _load(self, url: str) -> None:
        origin = Jsonb({"embedding": {"model": self.model, "dimensions": self.dimensions}})
        columns = "id, title, content, category, embedding, metadata"
        with connect_binary(url) as connection:
            connection.execute("TRUNCATE knowledge_base CASCADE")
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY knowledge_base ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
            ):
                copy.set_types(["uuid", "varchar", "text", "varchar", "vector", "jsonb"])
                for text, vector, label in zip(self.texts, self.vectors, self.labels, strict=True):
                    id_ = uuid7()
                    self.label_of[id_] = label
                    # A title that has no words: a text of the set is all that there is to know.
                    copy.write_row((id_, "-", text, "general", Vector(prepare(vector)), origin))
            connection.execute("VACUUM ANALYZE knowledge_base")
