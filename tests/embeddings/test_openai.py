"""The OpenAI embedder against a server of our own on this machine that speaks ``/v1/embeddings``."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.embeddings import OpenAIEmbedder, embed_texts
from app.errors import EmbedderUnavailable, InvalidValue, InvalidVector

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdef"
SOON = {"retry-after-ms": "1"}
QUICK = {"dimensions": 3, "api_key": KEY, "max_retries": 2, "timeout": 5.0}


@dataclass
class Answer:
    """What the server sends: a status, headers, and a change to the body that would be right."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[Any], Any] = lambda body: body
    delay: float = 0


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.answers: list[Answer] = []
        self.always = Answer()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(
            {**asked, "path": self.path, "authorization": self.headers["Authorization"]}
        )
        answer = self.server.answers.pop(0) if self.server.answers else self.server.always
        if answer.delay and self.server.stopping.wait(answer.delay):
            return
        body = answer.change(right_answer(asked))
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "text/html" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


def vector_of(text: str) -> list[float]:
    return [1.0, float(len(text)), float(ord(text[0]))]


def right_answer(asked: dict[str, Any]) -> dict[str, Any]:
    vectors = [vector_of(text) for text in asked["input"]]
    if asked.get("encoding_format") == "base64":
        encoded: list[Any] = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in vectors]
    else:
        encoded = vectors
    data = [{"object": "embedding", "index": i, "embedding": item} for i, item in enumerate(encoded)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


def with_data(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {**body, "data": change(body["data"])}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stopping.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def embedder(server: Server) -> Iterator[OpenAIEmbedder]:
    with closing(OpenAIEmbedder(base_url=server.url, batch_size=2, **QUICK)) as embedder:
        yield embedder


def test_each_text_gets_its_vector_over_several_batches(server, embedder):
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]

    assert embedder.embed(texts) == [vector_of(text) for text in texts]
    assert [request["input"] for request in server.requests] == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]


def test_the_request_names_model_dimensions_and_key(server, embedder):
    embedder.embed(["a"])

    (request,) = server.requests
    assert request["path"] == "/v1/embeddings"
    assert request["authorization"] == f"Bearer {KEY}"
    assert (request["model"], request["dimensions"]) == ("text-embedding-3-small", 3)


def test_a_model_that_cannot_shorten_its_vectors_is_not_asked_to(server):
    with closing(OpenAIEmbedder(base_url=server.url, model="nomic-embed-text", **QUICK)) as embedder:
        embedder.embed(["a"])

    assert server.requests[0]["model"] == "nomic-embed-text"
    assert "dimensions" not in server.requests[0]


def test_long_texts_go_in_smaller_batches_than_the_api_limits(server):
    texts = ["a" * 200_000, "b" * 100_000, "c", "\u00e9" * 150_000, "d" * 400_000]
    with closing(OpenAIEmbedder(base_url=server.url, **QUICK)) as embedder:
        vectors = embedder.embed(texts)

    assert vectors == [vector_of(text) for text in texts]
    assert [[text[0] for text in request["input"]] for request in server.requests] == [
        ["a", "b"], ["c"], ["\u00e9"], ["d"],
    ]  # fmt: skip


def test_no_texts_need_no_request(server, embedder):
    assert embedder.embed([]) == []
    assert server.requests == []


def test_a_server_that_answers_in_plain_numbers_is_understood(server, embedder):
    server.always = Answer(change=lambda _: right_answer({"input": ["a", "bb"], "model": "m"}))

    assert embedder.embed(["a", "bb"]) == [vector_of("a"), vector_of("bb")]


def test_vectors_in_another_order_are_put_back_by_their_index(server, embedder):
    server.always = Answer(change=with_data(lambda data: data[::-1]))

    assert embedder.embed(["a", "bb", "ccc"]) == [vector_of("a"), vector_of("bb"), vector_of("ccc")]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_passing_failure_is_retried(server, embedder, status):
    server.answers = [Answer(status, SOON)]

    assert embedder.embed(["a"]) == [vector_of("a")]
    assert len(server.requests) == 2


def test_a_lasting_failure_ends_after_the_retries(server, embedder):
    server.always = Answer(500, SOON)

    with pytest.raises(EmbedderUnavailable, match=r"at 127\.0\.0\.1:\d+ answered with HTTP status 500"):
        embedder.embed(["a"])
    assert len(server.requests) == 3


def test_a_failing_batch_is_retried_alone(server, embedder):
    server.answers = [Answer(), Answer(429, SOON)]

    assert embedder.embed(["a", "bb", "ccc"]) == [vector_of("a"), vector_of("bb"), vector_of("ccc")]
    assert [len(request["input"]) for request in server.requests] == [2, 1, 1]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_retried_and_quotes_neither_key_nor_text(server, embedder, status):
    quoting = {"error": {"message": f"bad key {KEY} or text my secret", "code": "x", "type": "y"}}
    server.always = Answer(status, change=lambda _: quoting)

    with pytest.raises(EmbedderUnavailable, match=f"HTTP status {status}") as caught:
        embed_texts(embedder, ["my secret"])

    # The traceback shows this test's own source line too, so the text is looked for in the message.
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert "my secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:1], id="one too few"),
        pytest.param(lambda data: [*data, {**data[0], "index": 2}], id="one too many"),
    ],
)
def test_another_number_of_vectors_is_noticed(server, embedder, change):
    server.always = Answer(change=with_data(change))

    with pytest.raises(EmbedderUnavailable, match=r"returned [13] vectors for 2 texts"):
        embedder.embed(["a", "bb"])


@pytest.mark.parametrize("index", [0, 2, -1, None, "1"])
def test_an_index_that_matches_no_text_is_noticed(server, embedder, index):
    server.always = Answer(change=with_data(lambda data: [data[0], {**data[1], "index": index}]))

    with pytest.raises(EmbedderUnavailable, match="cannot be matched"):
        embedder.embed(["a", "bb"])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: b"<html>Please log in</html>", id="a page"),
        pytest.param(lambda _: b"", id="nothing"),
        pytest.param(lambda _: [1, 2], id="a list"),
        pytest.param(lambda _: None, id="null"),
        pytest.param(lambda _: {"error": "no such model"}, id="an error with status 200"),
        pytest.param(with_data(lambda _: []), id="no vectors"),
        pytest.param(with_data(lambda _: None), id="data is null"),
        pytest.param(with_data(lambda data: [{**data[0], "embedding": "AAA"}]), id="broken base64"),
        pytest.param(with_data(lambda data: [{**data[0], "embedding": "AAAA"}]), id="three bytes of a float"),
    ],
)
def test_an_answer_in_no_known_form_is_a_failed_embedder(server, embedder, change):
    server.always = Answer(change=change)

    with pytest.raises(EmbedderUnavailable, match="no list of embeddings"):
        embedder.embed(["a"])


@pytest.mark.parametrize("wrong", [None, "%%%", [], ["x", "y", "z"], [1.0, None, 2.0]])
def test_an_embedding_that_is_no_vector_is_refused(server, embedder, wrong):
    server.always = Answer(change=with_data(lambda data: [{**data[0], "embedding": wrong}]))

    with pytest.raises(InvalidVector):
        embed_texts(embedder, ["a"])


def test_a_server_that_is_too_slow_is_given_up(server):
    server.always = Answer(delay=20)
    options = {**QUICK, "timeout": 0.2, "max_retries": 0}
    started = time.monotonic()
    with (
        closing(OpenAIEmbedder(base_url=server.url, **options)) as embedder,
        pytest.raises(EmbedderUnavailable, match="did not answer in time"),
    ):
        embedder.embed(["a"])

    assert time.monotonic() - started < 5


def test_a_server_that_is_slow_once_is_asked_again(server):
    server.answers = [Answer(delay=20)]
    options = {**QUICK, "timeout": 0.3, "max_retries": 1}
    with closing(OpenAIEmbedder(base_url=server.url, **options)) as embedder:
        assert embedder.embed(["a"]) == [vector_of("a")]


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = {**QUICK, "base_url": f"http://user:hush@127.0.0.1:{port}/v1", "max_retries": 0}
    with (
        closing(OpenAIEmbedder(**options)) as embedder,
        pytest.raises(EmbedderUnavailable, match=rf"127\.0\.0\.1:{port} cannot be reached") as caught,
    ):
        embedder.embed(["a"])

    assert "hush" not in str(caught.value)


def test_other_dimensions_than_promised_are_refused(server):
    options = {**QUICK, "dimensions": 4}
    with (
        closing(OpenAIEmbedder(base_url=server.url, **options)) as embedder,
        pytest.raises(InvalidVector, match="has 4 dimensions and returned 3"),
    ):
        embed_texts(embedder, ["a"])


def test_checked_vectors_are_padded_to_the_columns(server, embedder):
    (vector,) = embed_texts(embedder, ["a"])

    assert len(vector) == 1536
    assert vector[3:] == [0.0] * 1533


def test_the_representation_shows_no_key(server, embedder):
    assert repr(embedder) == "OpenAIEmbedder(model='text-embedding-3-small', dimensions=3)"


def test_key_and_server_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with closing(OpenAIEmbedder(dimensions=3)) as embedder:
        assert embedder.embed(["a"]) == [vector_of("a")]

    assert server.requests[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_the_error_says_which_variable_to_set(monkeypatch, key):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(EmbedderUnavailable, match="OPENAI_API_KEY"):
        OpenAIEmbedder(api_key=key)


@pytest.mark.parametrize(
    ("field_name", "value"),
    [
        ("dimensions", 0),
        ("dimensions", 3072),
        ("batch_size", 0),
        ("batch_size", 2049),
        ("max_retries", -1),
        ("base_url", "localhost:8000"),
        ("base_url", ""),
        ("api_key", "sk-hush\n"),
        ("api_key", "sk-h\u00fcsh"),
        ("api_key", "sk hush"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(field_name, value):
    with pytest.raises(InvalidValue) as caught:
        OpenAIEmbedder(**{"api_key": KEY, field_name: value})

    assert caught.value.field == field_name
    assert "sk" not in str(caught.value)
