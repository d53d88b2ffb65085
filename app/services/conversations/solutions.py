"""How tickets like this were solved; of other people's tickets nothing says whose they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from ...models import FINISHED, ObjectType
from ...normalization import without_addresses, without_names
from ...schemas import SolvedTicket, TicketHit
from ...schemas.prompts import cut
from ..search import statements
from ..search.hits import Target, fetch_hits

_MAX_SOLVED = 3
# Some have no notes.
_LOOKED_AT = 3 * _MAX_SOLVED
_NOTES_TOKENS = 200


class _Hit(TicketHit):
    customer_name: str | None
    customer_company: str | None


_TICKETS = Target(statements.TICKETS_OF_WHOM, (ObjectType.TICKET,), _Hit)
_FILTERS = {"status": [status.value for status in FINISHED]}


def find_solved(
    session: Session, options: Mapping[str, Any], customer_id: UUID, *, refuse_other_models: bool
) -> list[SolvedTicket]:
    """The finished tickets that are most like a question and have notes. One statement.

    ``options`` are a search's. The notes of somebody else's ticket are told without its customer's name and
    company, and without addresses and numbers of anybody. Whom else they name by name, nobody can tell.
    """
    parameters = {**options, "max_rows": _LOOKED_AT, "filters": _FILTERS}
    hits = fetch_hits(session, _TICKETS, parameters, refuse_other_models=refuse_other_models)
    with_notes = [hit for hit in hits if (hit.resolution_notes or "").strip()]
    return [
        SolvedTicket(
            category=hit.category,
            resolution_notes=cut(_notes_for(hit, customer_id), _NOTES_TOKENS),
            score=hit.score,
            ticket_number=hit.ticket_number if hit.customer_id == customer_id else None,
        )
        for hit in with_notes[:_MAX_SOLVED]
    ]


def _notes_for(hit: _Hit, customer_id: UUID) -> str:
    notes = hit.resolution_notes or ""
    if hit.customer_id == customer_id:
        return notes
    return without_names(without_addresses(notes), hit.customer_name, hit.customer_company)
