"""What a search's statement says of its columns is what the database returns."""

from __future__ import annotations

import pytest

from app.services import search
from app.services.search import statements
from app.testing import TicketFactory

WORDS = {"query": "password", "mode": "text"}
CALLS = {
    "KNOWLEDGE": lambda session: search.search_knowledge(session, **WORDS),
    "KNOWLEDGE_AROUND": lambda session: search.search_knowledge(session, **WORDS, around=1),
    "MESSAGES": lambda session: search.search_messages(session, **WORDS),
    "TICKETS": lambda session: search.search_tickets(session, **WORDS),
    "ALL": lambda session: search.search_all(session, **WORDS),
    "SIMILAR_TICKETS": lambda session: search.similar_tickets(session, TicketFactory().id),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_statement_tells_its_columns_in_the_database_s_order(session, monkeypatch, name):
    statement = getattr(statements, name)
    described = []
    execute = type(session).execute

    def look(self, asked, *arguments, **options):
        result = execute(self, asked, *arguments, **options)
        if asked is statement:
            described.append([column.name for column in result.cursor.description])
        return result

    monkeypatch.setattr(type(session), "execute", look)
    CALLS[name](session)
    assert described == [list(statement.selected_columns.keys())]
