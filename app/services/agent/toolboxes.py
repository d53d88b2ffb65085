"""The tools, what a model is told about them, and a call of one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ... import schemas
from ...embeddings import Embedder
from ...errors import (
    Conflict,
    CRMError,
    DisclosureRefused,
    EmbedderUnavailable,
    Invalid,
    InvalidValue,
    NotFound,
    from_database,
    problem,
    refusal,
)
from ...schemas import ToolResult
from ...schemas.base import Schema
from ...schemas.prompts import plain
from .._shared.checks import checked_actor, checked_text, checked_uuid, in_autocommit, require_transaction
from ..conversations.assurances import scope_of
from . import acting, reading
from .calls import Call, claim, keep
from .reading import Turn

_READABLE = (NotFound, Conflict, Invalid, DisclosureRefused, EmbedderUnavailable)
"""Errors that a model can do something about."""


@dataclass(frozen=True)
class Tool:
    """One tool as a model is told about it."""

    name: str
    arguments: type[Schema]
    run: Callable[[Turn, Any], dict[str, Any]]
    writes: bool

    @property
    def description(self) -> str:
        """What it does and when to use it."""
        return inspect.getdoc(self.arguments) or ""

    @property
    def input_schema(self) -> dict[str, Any]:
        """The arguments as JSON Schema, with a description of each and without references."""
        schema = self.arguments.model_json_schema()
        definitions = schema.pop("$defs", {})
        for own in (schema, *definitions.values()):
            own.pop("title", None)
            own.pop("description", None)
        properties = {
            name: _inlined(value, definitions) for name, value in schema.get("properties", {}).items()
        }
        return {**schema, "properties": properties}


def _inlined(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: fact for name, fact in value.items() if name not in {"title", "$ref"}}
    reference = str(value.get("$ref", "")).rpartition("/")[2]
    return {**definitions.get(reference, {}), **own}


_TOOLS = {
    function.__name__: Tool(function.__name__, arguments, function, writes)
    for function, arguments, writes in (
        (reading.search_knowledge, schemas.SearchKnowledge, False),
        (reading.find_solutions, schemas.FindSolutions, False),
        (reading.read_conversation, schemas.ReadConversation, False),
        (reading.read_history, schemas.ReadHistory, False),
        (reading.list_tickets, schemas.ListTickets, False),
        (reading.read_ticket, schemas.ReadTicket, False),
        (acting.open_ticket, schemas.OpenTicket, True),
        (acting.change_ticket_status, schemas.ChangeTicketStatus, True),
        (acting.escalate_ticket, schemas.EscalateTicket, True),
        (acting.change_ticket_priority, schemas.ChangeTicketPriority, True),
        (acting.reply, schemas.Reply, True),
        (acting.add_note, schemas.AddNote, True),
    )
}
_WRITING = tuple(tool.name for tool in _TOOLS.values() if tool.writes)


@dataclass(frozen=True)
class Toolbox:
    """The tools of one conversation. Holds no session: each call gets the caller's."""

    conversation_id: UUID
    actor: str
    embedder: Embedder | None = None

    def __iter__(self) -> Iterator[Tool]:
        return iter(_TOOLS.values())

    def __len__(self) -> int:
        return len(_TOOLS)

    def openai(self) -> list[dict[str, Any]]:
        """The tools as OpenAI's chat completions take them in ``tools``."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                },
            }
            for tool in self
        ]

    def anthropic(self) -> list[dict[str, Any]]:
        """The tools as Anthropic's messages take them in ``tools``."""
        return [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in self
        ]

    def text_to_embed(self, name: str, arguments: Mapping[str, Any] | str) -> str | None:
        """The text that a call would embed: for asyncio, embed it first and pass it as ``vector``."""
        try:
            tool, values = _read(name, arguments)
        except InvalidValue:
            return None
        return getattr(values, "query", None) if not tool.writes else None

    def call(
        self,
        session: Session,
        name: str,
        arguments: Mapping[str, Any] | str,
        *,
        idempotency_key: str | None = None,
        vector: Sequence[float] | None = None,
    ) -> ToolResult:
        """Run a tool with a model's arguments (an object, or its JSON), in the caller's transaction.

        A tool that writes needs ``idempotency_key``, such as the id that the model's provider gave the call:
        the same call with the same key, in whatever process, returns the first one's result and does nothing.
        What is refused leaves the transaction as it was, and is told in the result. Who may be told what is
        read from the conversation at each call, never taken from the arguments.

        Raises:
            ConversationNotFound: the conversation is gone.
            InvalidValue: a tool that writes was called without a key, or with one that cannot be stored, or
                the session is in autocommit mode.
            DBAPIError: what another try of the whole transaction may mend.
        """
        session.flush()
        if name in _WRITING:
            require_transaction(session)
        scope = scope_of(session, self.conversation_id)
        turn = Turn(session, scope, self.actor, self.embedder, vector)
        try:
            tool, values = _read(name, arguments)
        except InvalidValue as error:
            return _refused(name, error)
        if not tool.writes:
            idempotency_key = None
        elif idempotency_key is None:
            raise InvalidValue("idempotency_key", f"is needed: {name} writes")
        else:
            checked_text("idempotency_key", idempotency_key, max_length=255)
        try:
            with nullcontext() if in_autocommit(session) else session.begin_nested():
                return _run(turn, tool, values, idempotency_key)
        except _READABLE as error:
            if _may_pass(error):
                raise
            return _refused(name, error)
        except DBAPIError as error:
            meaning = None if _may_pass(error) else from_database(error)
            if meaning is None:
                raise
            return _refused(name, meaning)


def tools(conversation_id: UUID, *, actor: str = "ai:agent", embedder: Embedder | None = None) -> Toolbox:
    """The services as tools of a language model that acts in this conversation, recorded as ``actor``.

    A tool reaches this conversation and this customer's tickets and nobody else's; where it is not proven who
    writes, this conversation only. ``embedder`` lets the searches compare meaning too; with asyncio leave it
    out and pass vectors.

    Raises:
        InvalidValue: the id or the actor is ill-formed.
    """
    return Toolbox(checked_uuid("conversation_id", conversation_id), checked_actor(actor), embedder)


def _read(name: str, arguments: Mapping[str, Any] | str) -> tuple[Tool, Schema]:
    tool = _TOOLS.get(name) if isinstance(name, str) else None
    if tool is None:
        raise InvalidValue("tool", f"must be one of {', '.join(_TOOLS)}")
    try:
        values = json.loads(arguments or "{}") if isinstance(arguments, str) else dict(arguments)
        return tool, tool.arguments.model_validate(values)
    except ValidationError as error:
        field, wrong = refusal(error)
        raise InvalidValue(plain(field or "arguments")[:100], wrong) from None
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue("arguments", "must be an object in JSON") from None


def _run(turn: Turn, tool: Tool, values: Schema, idempotency_key: str | None) -> ToolResult:
    if idempotency_key is None:
        return ToolResult(tool=tool.name, ok=True, content=tool.run(turn, values))
    call = Call(turn.scope.conversation_id, idempotency_key, tool.name, values, turn.actor)
    earlier = claim(turn.session, call)
    if earlier is not None:
        return ToolResult(tool=tool.name, ok=True, content=earlier, repeated=True)
    content = tool.run(turn, values)
    keep(turn.session, call, content)
    return ToolResult(tool=tool.name, ok=True, content=content)


def _may_pass(error: Exception) -> bool:
    """Whether the whole transaction should be tried again."""
    from ...database import is_retryable  # noqa: PLC0415 - it brings a package that only this needs

    return is_retryable(error)


def _refused(name: str, error: CRMError) -> ToolResult:
    document = problem(error)
    content = {key: document[key] for key in ("code", "detail", "field", "legal") if key in document}
    return ToolResult(tool=str(name)[:63], ok=False, content=content)
