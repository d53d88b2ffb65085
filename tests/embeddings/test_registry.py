"""Embedders by name, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.embeddings import LexicalEmbedder, get_embedder
from app.errors import EmbedderUnavailable, InvalidValue


def test_the_lexical_embedder_needs_nothing():
    embedder = get_embedder("lexical")

    assert isinstance(embedder, LexicalEmbedder)
    assert (embedder.model, embedder.dimensions) == ("lexical-1536-v1", 1536)


def test_options_reach_the_embedder():
    pytest.importorskip("openai")
    embedder = get_embedder("openai", model="text-embedding-3-large", dimensions=256, api_key="k")

    assert (embedder.model, embedder.dimensions) == ("text-embedding-3-large", 256)


@pytest.mark.parametrize("name", ["", "Lexical", "word2vec"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(InvalidValue, match="known are lexical, openai, fastembed") as caught:
        get_embedder(name)

    assert caught.value.field == "embedder"


@pytest.mark.parametrize("name", ["openai", "fastembed"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(EmbedderUnavailable, match=rf"crm-digital-fte\[{name}\]"):
        get_embedder(name)


def test_importing_and_using_the_default_loads_no_optional_package():
    script = (
        "import sys\n"
        "from app.embeddings import embed_texts, get_embedder\n"
        "embed_texts(get_embedder('lexical'), ['reset my password'])\n"
        "print(sorted({'openai', 'fastembed', 'numpy', 'httpx', 'httpx2'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
