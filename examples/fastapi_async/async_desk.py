"""A support desk as an asynchronous HTTP service: webhooks in, answers out, and what its agents work with.

Every endpoint works by ``transaction_async``, which has committed when the response is made: nobody is told
200 for what was not stored, and a provider that is told 500 sends its message again. The services are plain
functions; what takes time elsewhere (migrations, an embedder) runs in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Body, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from starlette.exceptions import HTTPException

from crm_digital_fte import database, migrations, schemas
from crm_digital_fte.channels import email, signatures, web_form, whatsapp
from crm_digital_fte.database import transaction_async
from crm_digital_fte.embeddings import LexicalEmbedder, embed_query
from crm_digital_fte.errors import CRMError, problem
from crm_digital_fte.services import conversations, merging, outbox, search, timeline

log = logging.getLogger(__name__)
EMBEDDER = LexicalEmbedder()  # built in; or OpenAIEmbedder, FastEmbedder


class Settings(BaseSettings):
    """From ``DESK_*``. A secret has no default: an empty one lets anybody sign."""

    model_config = SettingsConfigDict(env_prefix="DESK_")
    public_url: str  # as the providers call it: Twilio signs the URL
    twilio_auth_token: str
    meta_app_secret: str
    meta_verify_token: str
    mail_secret: str
    mailbox: str = "support@techcorp.example"
    authserv_id: str = "mx.techcorp.example"  # our mail server, whose verdict on a sender counts
    allow_insecure_tls: bool = False  # a database in a network that is ours alone, as in docker-compose.yml


@dataclass(frozen=True)
class Desk:
    settings: Settings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    settings, url = Settings.model_validate({}), migrations.resolve_url()  # DATABASE_URL, else embedded
    await asyncio.to_thread(migrations.upgrade, url)  # of many processes one migrates, the others wait
    engine = database.make_async_engine(url, allow_insecure_tls=settings.allow_insecure_tls)
    yield {"desk": Desk(settings, engine, database.make_async_session_factory(engine))}
    await engine.dispose()


def answer_problem(_request: Request, error: Exception) -> Response:
    document = problem(error)
    if document["status"] >= 500:
        # Not the database's own text: it repeats the refused row.
        log.error("%s: %s", document["code"], type(error).__name__)
    headers = getattr(error, "headers", None)
    return JSONResponse(document, document["status"], headers, media_type="application/problem+json")


KINDS = (CRMError, SQLAlchemyError, ValidationError, RequestValidationError, HTTPException)
HANDLERS: dict[Any, Any] = dict.fromkeys(KINDS, answer_problem)
app = FastAPI(title="Support desk", lifespan=lifespan, exception_handlers=HANDLERS)


def desk_of(request: Request) -> Desk:
    desk: Desk = request.state.desk
    return desk


async def body_of(request: Request) -> bytes:
    return await request.body()


AtDesk = Annotated[Desk, Depends(desk_of)]
Raw = Annotated[bytes, Depends(body_of)]
Actor = Annotated[str, Header(alias="X-Actor", description="human:7; set by the login in front of us")]
Text = Annotated[str, Body(embed=True)]
History = schemas.Page[schemas.HistoryEntry]


def twilio_form(request: Request, body: Raw, desk: AtDesk) -> dict[str, str]:
    form = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    url = f"{desk.settings.public_url}{request.url.path}?{request.url.query}".rstrip("?")
    signature = request.headers.get("X-Twilio-Signature")
    if not signatures.twilio(url, form, signature, desk.settings.twilio_auth_token):
        raise HTTPException(403, "this was not signed by Twilio")
    return dict(form)


TwilioForm = Annotated[dict[str, str], Depends(twilio_form)]


@app.post("/twilio/messages")
async def receive_twilio(form: TwilioForm, desk: AtDesk) -> Response:
    await transaction_async(desk.sessions, conversations.ingest, whatsapp.parse_twilio(form))
    return Response("<Response/>", media_type="text/xml")


@app.post("/twilio/status", status_code=204)
async def receive_twilio_status(form: TwilioForm, desk: AtDesk, message_id: UUID | None = None) -> None:
    report = whatsapp.parse_twilio_status(form, message_id=message_id)
    await transaction_async(desk.sessions, outbox.record_delivery, report)


@app.get("/meta")
async def confirm_meta(request: Request, desk: AtDesk) -> PlainTextResponse:
    token = request.query_params.get("hub.verify_token", "")
    if not compare_digest(token.encode(), desk.settings.meta_verify_token.encode()):
        raise HTTPException(403, "this is not the token that was agreed with Meta")
    return PlainTextResponse(request.query_params.get("hub.challenge", ""))


@app.post("/meta", status_code=204)
async def receive_meta(request: Request, body: Raw, desk: AtDesk) -> None:
    signature = request.headers.get("X-Hub-Signature-256")
    if not signatures.meta(body, signature, desk.settings.meta_app_secret):
        raise HTTPException(403, "this was not signed by Meta")
    for message in whatsapp.parse_meta(body):  # each is stored on its own; the webhook may come again
        await transaction_async(desk.sessions, conversations.ingest, message)
    await transaction_async(desk.sessions, outbox.record_deliveries, whatsapp.parse_meta_statuses(body))


@app.post("/mail", status_code=204)
async def receive_mail(body: Raw, desk: AtDesk, x_mail_secret: Annotated[str, Header()] = "") -> None:
    if not compare_digest(x_mail_secret.encode(), desk.settings.mail_secret.encode()):
        raise HTTPException(403, "this is not our mail server")
    mail = email.parse(body, account=desk.settings.mailbox, authserv_id=desk.settings.authserv_id)
    await transaction_async(desk.sessions, conversations.ingest, mail)


@app.post("/form", status_code=204)
async def receive_form(form: dict[str, Any], desk: AtDesk) -> None:
    await transaction_async(desk.sessions, conversations.ingest, web_form.parse(form))


@app.post("/conversations/{conversation_id}/answers", status_code=202)
async def answer(conversation_id: UUID, text: Text, desk: AtDesk, actor: Actor) -> dict[str, UUID]:
    """Put the text into the channel's voice and into the outbox."""
    letter = schemas.OutboundMessage(content=text)
    message = await transaction_async(
        desk.sessions, conversations.reply, conversation_id, letter, actor=actor, in_template=True
    )
    return {"message_id": message.id}


@app.get("/customers/{customer_id}/history")
async def read_history(customer_id: UUID, desk: AtDesk, before: str | None = None) -> History:
    return await transaction_async(desk.sessions, timeline.history, customer_id, before=before)


@app.get("/merges/plan")
async def plan_merge(survivor_id: UUID, absorbed_id: UUID, desk: AtDesk) -> schemas.MergePlan:
    return await transaction_async(desk.sessions, merging.plan_merge, survivor_id, absorbed_id)


@app.post("/merges", status_code=201)
async def merge(plan: schemas.MergePlan, reason: Text, desk: AtDesk, actor: Actor) -> dict[str, UUID]:
    """Do exactly what the plan says that somebody has looked at, or nothing."""
    how: dict[str, Any] = {"actor": actor, "reason": reason, "fingerprint": plan.fingerprint}
    record = await transaction_async(desk.sessions, merging.merge, plan.survivor_id, plan.absorbed_id, **how)
    return {"merge_id": record.id}


@app.post("/merges/{merge_id}/undo")
async def undo_merge(merge_id: UUID, reason: Text, desk: AtDesk, actor: Actor) -> schemas.UnmergeReport:
    return await transaction_async(desk.sessions, merging.unmerge, merge_id, actor=actor, reason=reason)


@app.get("/search")
async def search_articles(q: str, desk: AtDesk) -> list[schemas.KnowledgeHit]:
    vector = await asyncio.to_thread(embed_query, EMBEDDER, q)
    return await transaction_async(desk.sessions, search.search_knowledge, q, vector=vector, mode="hybrid")


@app.get("/health")
async def health(desk: AtDesk, response: Response) -> database.Health:
    health = await database.probe_async(desk.engine, revision=migrations.head())
    response.status_code = 200 if health.ok else 503
    return health
