"""The service as its callers see it, on a real database that it migrates itself."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from crm_digital_fte.database import make_engine, make_session_factory
from crm_digital_fte.embeddings import LexicalEmbedder
from crm_digital_fte.services import knowledge, outbox
from crm_digital_fte.testing import Databases
from sync_desk import app

AGENT = {"X-Actor": "human:7"}
MAIL = b"""Authentication-Results: mx.techcorp.example; dkim=pass header.d=example.com
From: Ana Silva <ana@example.com>
Message-ID: <1@example.com>
Subject: Password

How do I reset it?
"""
WHATSAPP = {
    "MessageSid": "SM1",
    "From": "whatsapp:+4915112345678",
    "To": "whatsapp:+14155238886",
    "Body": "Hi",
}
META_MESSAGE = {
    "from": "12025550143", "id": "wamid.1", "timestamp": "1794834131",
    "type": "text", "text": {"body": "Where is my invoice?"},
}  # fmt: skip
META_VALUE = {"metadata": {"phone_number_id": "431276509870142"}, "messages": [META_MESSAGE]}
META = {
    "object": "whatsapp_business_account",
    "entry": [{"changes": [{"field": "messages", "value": META_VALUE}]}],
}
REFUSE_AT_COMMIT = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'at the commit'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.content = 'never stored') EXECUTE FUNCTION refuse()
"""


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    """On an empty database: to migrate it is the service's affair."""
    url = crm_databases.empty()
    engine = make_engine(url, allow_insecure_tls=True)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))
        environment.setenv("DESK_PUBLIC_URL", "https://desk.example")
        for name in ("TWILIO_AUTH_TOKEN", "META_APP_SECRET", "META_VERIFY_TOKEN", "MAIL_SECRET"):
            environment.setenv(f"DESK_{name}", "secret")
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client


def from_twilio(client: TestClient, path: str, form: dict[str, str], key: bytes = b"secret") -> int:
    url = f"https://desk.example{path}"
    signed = url + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.digest(key, signed.encode(), "sha1")).decode()
    return client.post(path, data=form, headers={"X-Twilio-Signature": signature}).status_code


def from_meta(client: TestClient, payload: object, key: bytes = b"secret") -> int:
    body = json.dumps(payload).encode()
    headers = {"X-Hub-Signature-256": f"sha256={hmac.digest(key, body, 'sha256').hex()}"}
    return client.post("/meta", content=body, headers=headers).status_code


def from_mail(client: TestClient, mail: bytes = MAIL, secret: str = "secret") -> int:
    return client.post("/mail", content=mail, headers={"X-Mail-Secret": secret}).status_code


def ids(engine: Engine, words: str) -> tuple[str, str]:
    """Conversation and customer of the message of these words."""
    query = "SELECT conversation_id::text, customer_id::text FROM messages WHERE content = :words"
    with engine.connect() as connection:
        conversation, customer = connection.execute(text(query), {"words": words}).one()
    return conversation, customer


def test_what_its_provider_has_not_signed_is_refused(client: TestClient) -> None:
    assert from_twilio(client, "/twilio/messages", WHATSAPP, key=b"guessed") == 403
    assert from_meta(client, META, key=b"guessed") == 403
    assert from_mail(client, secret="guessed") == 403
    assert client.get("/meta", params={"hub.verify_token": "guessed"}).json()["code"] == "forbidden"


def test_a_message_is_stored_once_answered_and_due_in_the_outbox(client: TestClient, engine: Engine) -> None:
    assert client.get("/health").json()["ok"]
    assert [from_mail(client), from_mail(client)] == [204, 204]
    conversation, customer = ids(engine, "How do I reset it?")

    answer = client.post(
        f"/conversations/{conversation}/answers", json={"text": "Press Reset."}, headers=AGENT
    )

    assert answer.status_code == 202
    history = client.get(f"/customers/{customer}/history").json()
    assert [entry["direction"] for entry in history["items"]] == ["outbound", "inbound"]
    with make_session_factory(engine).begin() as session:
        (delivery,) = outbox.claim(session, channel="email")
    assert (str(delivery.message_id), delivery.to.value) == (answer.json()["message_id"], "ana@example.com")


def test_two_customers_become_one_and_two_again(client: TestClient, engine: Engine) -> None:
    form = {"submission_id": "1", "email": "bo@example.com", "message": "A form."}
    assert from_twilio(client, "/twilio/messages", WHATSAPP) == 200
    assert from_meta(client, META) == client.post("/form", json=form).status_code == 204
    survivor, absorbed = ids(engine, "Hi")[1], ids(engine, "Where is my invoice?")[1]

    plan = client.get("/merges/plan", params={"survivor_id": survivor, "absorbed_id": absorbed}).json()
    merge = {"plan": plan, "reason": "she said so"}
    merge_id = client.post("/merges", json=merge, headers=AGENT).json()["merge_id"]
    assert len(client.get(f"/customers/{survivor}/history").json()["items"]) == 2

    undone = client.post(f"/merges/{merge_id}/undo", json={"reason": "it was not"}, headers=AGENT)
    assert undone.json()["restored_id"] == absorbed
    assert len(client.get(f"/customers/{survivor}/history").json()["items"]) == 1


def test_an_article_is_searched(client: TestClient, engine: Engine) -> None:
    page = "# Two factors\n\nTo lose no second factor, print the recovery codes."
    with make_session_factory(engine).begin() as session:
        knowledge.ingest_markdown(session, page, source="p.md", category="faq", embedder=LexicalEmbedder())

    assert client.get("/search", params={"q": "print recovery codes"}).json()[0]["title"] == "Two factors"


def test_a_commit_that_fails_is_never_answered_as_a_success(client: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(REFUSE_AT_COMMIT))
    form = {"submission_id": "2", "email": "cy@example.com", "message": "never stored"}

    refused = client.post("/form", json=form)

    assert (refused.status_code, refused.headers["content-type"]) == (500, "application/problem+json")
    assert "at the commit" not in refused.text


def test_errors_are_problem_documents(client: TestClient) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    missing = client.post(f"/conversations/{nobody}/answers", json={"text": "Hello"}, headers=AGENT)
    unsaid = client.post(f"/conversations/{nobody}/answers", json={}, headers=AGENT)
    empty = client.post("/form", json={"submission_id": "3", "email": "cy@example.com"})
    nowhere = client.get("/nowhere")

    assert (missing.status_code, missing.json()["code"]) == (404, "conversation_not_found")
    assert (unsaid.status_code, unsaid.json()["field"]) == (422, "text")
    assert (empty.status_code, empty.json()["field"]) == (422, "message")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
