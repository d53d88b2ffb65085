"""The fastembed embedder: its own model list, a tiny model in the hub's cache layout, and no hub at all."""

from __future__ import annotations

import json
import math
import struct

import pytest

from app.embeddings import FastEmbedEmbedder, embed_texts
from app.errors import EmbedderUnavailable, InvalidValue

pytest.importorskip("fastembed")

WORDS = {"[UNK]": 0, "reset": 1, "password": 2, "invoice": 3}


@pytest.fixture
def offline_cache(tmp_path, monkeypatch):
    """An empty model cache, and no way to fill it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("FASTEMBED_CACHE_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny_model(offline_cache):
    """A static model of three words, one axis each, under the name and dimensions of a real one."""
    repository = offline_cache / "models--minishlab--potion-base-8M"
    snapshot = repository / "snapshots" / "tiny"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("tiny")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"},
    }))  # fmt: skip
    matrix = b"".join(
        struct.pack("<256f", *(float(row == column) for column in range(256))) for row in range(len(WORDS))
    )
    header = json.dumps(
        {"embeddings": {"dtype": "F32", "shape": [len(WORDS), 256], "data_offsets": [0, len(matrix)]}}
    ).encode()
    (snapshot / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + matrix)
    return "minishlab/potion-base-8M"


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [
        ("BAAI/bge-small-en-v1.5", 384),
        ("BAAI/bge-base-en-v1.5", 768),
        ("intfloat/multilingual-e5-large", 1024),
    ],
)
def test_the_dimensions_come_from_the_models_description_without_loading_it(offline_cache, model, dimensions):
    embedder = FastEmbedEmbedder(model)

    assert (embedder.model, embedder.dimensions) == (model, dimensions)
    assert list(offline_cache.iterdir()) == []


def test_the_default_model_is_a_small_english_one():
    assert repr(FastEmbedEmbedder()) == "FastEmbedEmbedder(model='BAAI/bge-small-en-v1.5', dimensions=384)"


@pytest.mark.parametrize("model", ["", "no/such-model"])
def test_a_model_that_is_not_in_the_list_is_refused(model):
    with pytest.raises(InvalidValue, match="fastembed knows no") as caught:
        FastEmbedEmbedder(model)

    assert caught.value.field == "model"


def test_a_model_that_can_be_neither_downloaded_nor_found_is_unavailable(offline_cache):
    embedder = FastEmbedEmbedder()

    with pytest.raises(EmbedderUnavailable, match=r"bge-small-en-v1\.5 .* cache"):
        embed_texts(embedder, ["my text"])


def test_a_damaged_model_is_unavailable(tiny_model, offline_cache):
    (weights,) = offline_cache.rglob("model.safetensors")
    weights.write_bytes(b"not a model")

    with pytest.raises(EmbedderUnavailable):
        FastEmbedEmbedder(tiny_model).embed(["password"])


def test_texts_become_vectors_of_the_promised_dimensions(tiny_model):
    embedder = FastEmbedEmbedder(tiny_model)

    both, one = embedder.embed(["Reset password", "invoice"])

    assert len(both) == len(one) == embedder.dimensions == 256
    assert both[1:3] == pytest.approx([math.sqrt(0.5)] * 2)
    assert one[3] == pytest.approx(1)
    assert all(type(value) is float for value in both)
    # This model takes questions as it takes texts.
    assert embedder.embed_query("invoice") == pytest.approx(one)


def test_the_model_is_loaded_once(tiny_model, offline_cache):
    embedder = FastEmbedEmbedder(tiny_model)
    first = embed_texts(embedder, ["reset password"])
    for file in offline_cache.rglob("*"):
        if file.is_file():
            file.unlink()

    assert embed_texts(embedder, ["reset password"]) == first
