"""Whoever gets round the triggers, as the tables' owner can, leaves traces that ``verify_history`` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import InvalidValue, TicketNotFound
from app.models import Ticket, TicketFieldChange, TicketPriority, TicketStatus, TicketStatusChange
from app.schemas import HistoryFault
from app.services import tickets
from app.testing import TicketFactory

STATUSES = [TicketStatus.PROCESSING, TicketStatus.WAITING, TicketStatus.OPEN, TicketStatus.PROCESSING]
PRIORITIES = [TicketPriority.LOW, TicketPriority.HIGH, TicketPriority.CRITICAL, TicketPriority.LOW]


@dataclass(frozen=True)
class Record:
    """One ticket's chain of one kind, and the means to damage it."""

    session: Session
    name: str
    model: type[TicketStatusChange | TicketFieldChange]
    ticket: Ticket
    go_on: Callable[[], object]

    @property
    def entries(self) -> list[TicketStatusChange | TicketFieldChange]:
        self.session.expire_all()
        model = self.model
        of_ticket = select(model).where(model.ticket_id == self.ticket.id).order_by(model.seq)
        return list(self.session.scalars(of_ticket))

    def tamper(self, *statements: str, **values: object) -> None:
        """Run SQL as the owner of the tables with all guards off, and put them on again."""
        table = self.model.__tablename__
        guards = "; ".join(
            f"ALTER TABLE {name} {{}} TRIGGER USER" for name in (table, "tickets", "ticket_record_heads")
        )
        self.session.execute(text(guards.replace("{}", "DISABLE")))
        for statement in statements:
            sql = statement.format(table=table, hash=f"{table.removesuffix('s')}_hash")
            self.session.execute(text(sql), {"ticket": self.ticket.id} | values)
        self.session.execute(text(guards.replace("{}", "ENABLE")))

    def insert(self, like: int, prev_hash: bytes) -> int:
        """Add an entry with the content of another one and a hash of its own; its ``seq``."""
        self.tamper(
            "CREATE TEMP TABLE forged AS SELECT * FROM {table} WHERE seq = :like",
            "UPDATE forged SET id = :id, seq = nextval('{table}_seq_seq'), prev_hash = :prev_hash",
            "INSERT INTO {table} SELECT * FROM forged",
            "UPDATE {table} c SET hash = {hash}(c) WHERE id = :id",
            "DROP TABLE forged",
            like=like,
            id=uuid4(),
            prev_hash=prev_hash,
        )
        return self.session.scalar(select(func.max(self.model.seq)))

    def faults(self) -> set[tuple[HistoryFault, int | None]]:
        """What is found, and where; checks that nothing else is blamed."""
        findings = tickets.verify_history(self.session)
        assert {(finding.record, finding.ticket_id) for finding in findings} <= {(self.name, self.ticket.id)}
        assert {finding.ticket_number for finding in findings} <= {self.ticket.ticket_number}
        assert tickets.verify_history(self.session, self.ticket.id) == findings
        seqs = {entry.id: entry.seq for entry in self.entries}
        assert all(finding.seq == seqs.get(finding.entry_id) for finding in findings)
        return {(finding.fault, finding.seq) for finding in findings}


@pytest.fixture(params=["status", "fields"])
def record(request, session) -> Iterator[Record]:
    """A ticket with five entries in each chain, between two others that have a record too."""
    made = [TicketFactory() for _ in range(3)]
    ticket = made[1]
    step = text("UPDATE tickets SET status = :status, priority = :priority WHERE id = ANY (:ids)")
    ids = [one.id for one in made]
    for status, priority in zip(STATUSES, PRIORITIES, strict=True):
        session.execute(step, {"status": status, "priority": priority, "ids": ids})
    session.execute(text("UPDATE tickets SET assigned_to = 'human:9' WHERE id = ANY (:ids)"), {"ids": ids})
    if request.param == "status":
        yield Record(
            session,
            "status",
            TicketStatusChange,
            ticket,
            lambda: tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="human:7"),
        )
    else:
        yield Record(
            session,
            "fields",
            TicketFieldChange,
            ticket,
            lambda: tickets.change_priority(session, ticket.id, TicketPriority.HIGH, actor="human:7"),
        )


def test_a_record_that_only_the_triggers_wrote_is_sound(session, record):
    assert len(record.entries) == 5
    assert record.faults() == set()
    tickets.change_status(session, record.ticket.id, TicketStatus.CLOSED, actor="human:7")
    tickets.change_status(session, record.ticket.id, TicketStatus.WAITING, actor="human:7", force=True)
    assert record.faults() == set()


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize(
    "edit", ["comment = 'no'", "changed_by = 'human:1'", "changed_at = changed_at - '1s'::interval"]
)
def test_an_edited_entry_is_named(record, place, edit):
    entry = record.entries[place]
    record.tamper(f"UPDATE {{table}} SET {edit} WHERE seq = :seq", seq=entry.seq)
    assert record.faults() == {(HistoryFault.EDITED, entry.seq)}


def test_every_column_counts(record):
    columns = {column.name for column in record.model.__table__.columns} - {"ticket_id", "id", "seq"}
    values = {"old_status": "'closed'", "new_status": "'closed'", "field": "'category'", "forced": "true"}
    values |= {"changed_at": "now() - '1 day'::interval", "prev_hash": "'\\xff'", "hash": "'\\xff'"}
    values |= {"salt": "gen_random_uuid()", "words_hash": "'\\xff'", "erasure_id": "gen_random_uuid()"}
    entry = record.entries[2]
    for column in sorted(columns):
        savepoint = record.session.begin_nested()
        value = values.get(column, "'x'")
        record.tamper(f"UPDATE {{table}} SET {column} = {value} WHERE seq = :seq", seq=entry.seq)
        assert (HistoryFault.EDITED, entry.seq) in record.faults(), column
        savepoint.rollback()


def test_an_entry_that_was_edited_with_a_hash_to_fit_no_longer_fits_the_next_one(record):
    _, _, entry, after, last = record.entries
    rehash = "UPDATE {table} c SET hash = {hash}(c) WHERE seq = :seq"
    edit = "UPDATE {table} SET comment = 'no' WHERE seq = :seq"
    savepoint = record.session.begin_nested()
    record.tamper(edit, rehash, seq=entry.seq)
    assert record.faults() == {(HistoryFault.DELETED, after.seq)}
    savepoint.rollback()
    record.tamper(edit, rehash, seq=last.seq)
    assert record.faults() == {(HistoryFault.CUT_OFF, last.seq)}


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 3), (1, 1), (2, 2), (3, 1)])
def test_a_gap_is_named_by_the_entry_after_it(record, first, count):
    entries = record.entries
    gone = [entry.seq for entry in entries[first : first + count]]
    record.tamper("DELETE FROM {table} WHERE seq = ANY (:gone)", gone=gone)
    found = record.faults()
    assert (HistoryFault.DELETED, entries[first + count].seq) in found
    # Where the last entry about the priority is gone, the ticket's priority is nowhere recorded.
    assert {fault for fault, _ in found} <= {HistoryFault.DELETED, HistoryFault.UNRECORDED}
    assert len(found) == (2 if record.name == "fields" and first + count == 4 else 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_tail_that_was_cut_off_is_missed_also_where_the_ticket_looks_as_its_last_entry_says(record, count):
    entries = record.entries
    gone = [entry.seq for entry in entries[-count:]]
    record.tamper("DELETE FROM {table} WHERE seq = ANY (:gone)", gone=gone)
    assert record.faults() == {(HistoryFault.CUT_OFF, entries[-count - 1].seq)}


def test_a_tail_that_was_cut_off_is_still_missed_when_the_record_goes_on(record):
    record.tamper("DELETE FROM {table} WHERE seq = :seq", seq=record.entries[-1].seq)
    record.go_on()
    assert (HistoryFault.DELETED, record.entries[-1].seq) in record.faults()


def test_a_record_that_is_gone_altogether_is_missed(record):
    record.tamper("DELETE FROM {table} WHERE ticket_id = :ticket")
    assert record.faults() == {(HistoryFault.CUT_OFF, None)}
    (finding,) = tickets.verify_history(record.session)
    assert finding.problem == "the whole record is gone"
    record.tamper("DELETE FROM ticket_record_heads WHERE ticket_id = :ticket")
    assert tickets.verify_history(record.session, record.ticket.id)


def test_the_end_cannot_be_removed_either(record):
    last = record.entries[-1]
    record.tamper(
        "UPDATE ticket_record_heads SET field_hash = NULL, status_hash = '' WHERE ticket_id = :ticket"
    )
    found = {(finding.record, finding.fault) for finding in tickets.verify_history(record.session)}
    assert found == {("status", HistoryFault.CUT_OFF), ("fields", HistoryFault.CUT_OFF)}
    record.tamper("DELETE FROM ticket_record_heads WHERE ticket_id = :ticket")
    findings = tickets.verify_history(record.session)
    assert (HistoryFault.CUT_OFF, last.id) in {(finding.fault, finding.entry_id) for finding in findings}


def test_an_entry_that_was_put_in_with_any_link_is_named(record):
    forged = record.insert(like=record.entries[2].seq, prev_hash=b"\xff" * 32)
    assert record.faults() == {(HistoryFault.INSERTED, forged)}


def test_an_entry_that_was_put_at_the_end_with_a_right_link_is_named(record):
    forged = record.insert(like=record.entries[2].seq, prev_hash=record.entries[-1].hash)
    assert record.faults() == {(HistoryFault.INSERTED, forged)}


def test_two_entries_that_changed_places_are_named(record):
    _, one, two, *_ = record.entries
    record.tamper(
        "UPDATE {table} SET seq = -seq WHERE seq IN (:one, :two)",
        "UPDATE {table} SET seq = CASE -seq WHEN :one THEN :two ELSE :one END WHERE seq IN (-:one, -:two)",
        one=one.seq,
        two=two.seq,
    )
    assert record.faults() == {(HistoryFault.SWAPPED, one.seq), (HistoryFault.SWAPPED, two.seq)}


def test_two_entries_that_changed_their_contents_are_named(record):
    _, one, two, *_ = record.entries
    actors = "UPDATE {table} SET changed_by = 'human:' || CASE seq WHEN :one THEN 2 ELSE 1 END"
    record.tamper(actors + " WHERE seq IN (:one, :two)", one=one.seq, two=two.seq)
    assert record.faults() == {(HistoryFault.EDITED, one.seq), (HistoryFault.EDITED, two.seq)}


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_second_entry_after_the_same_one_is_a_fork(record, place):
    entry = record.entries[place]
    record.tamper("ALTER TABLE {table} DROP CONSTRAINT {table}_ticket_id_prev_hash_key")
    forged = record.insert(like=entry.seq, prev_hash=entry.prev_hash)
    assert record.faults() == {(HistoryFault.FORKED, forged)}
    again = record.insert(like=entry.seq, prev_hash=record.entries[-1].hash)
    assert record.faults() == {(HistoryFault.FORKED, forged), (HistoryFault.INSERTED, again)}


def test_a_ticket_that_was_changed_behind_its_record_s_back_is_named(record):
    change = {"status": "status = 'closed'", "fields": "priority = 'critical'"}[record.name]
    record.tamper(f"UPDATE tickets SET {change} WHERE id = :ticket")
    latest = {"status": -1, "fields": -2}[
        record.name
    ]  # the last entry of the second chain is about the assignee
    assert record.faults() == {(HistoryFault.UNRECORDED, record.entries[latest].seq)}


def test_whoever_rewrites_a_whole_chain_and_its_end_is_not_found(record):
    """The limit of what a database can prove about itself, as the documentation says."""
    record.tamper("UPDATE {table} SET comment = 'no' WHERE ticket_id = :ticket")
    previous = bytes(32)
    for entry in record.entries:
        record.tamper(
            "UPDATE {table} SET prev_hash = :previous WHERE seq = :seq",
            "UPDATE {table} c SET hash = {hash}(c) WHERE seq = :seq",
            previous=previous,
            seq=entry.seq,
        )
        previous = record.session.scalar(select(record.model.hash).where(record.model.seq == entry.seq))
    assert record.faults() == {(HistoryFault.CUT_OFF, record.entries[-1].seq)}
    end = {"status": "status_hash", "fields": "field_hash"}[record.name]
    record.tamper(
        f"UPDATE ticket_record_heads SET {end} = :previous WHERE ticket_id = :ticket", previous=previous
    )
    assert record.faults() == set()


def test_the_whole_base_is_verified_in_one_statement_and_one_ticket_in_two(session, record, queries):
    queries.reset()
    tickets.verify_history(session)
    assert queries.count == 1, queries
    queries.reset()
    tickets.verify_history(session, record.ticket.id)
    assert queries.count == 2, queries


def test_every_fault_has_words(session, record):
    record.tamper("UPDATE {table} SET comment = 'no' WHERE ticket_id = :ticket")
    assert {finding.problem for finding in tickets.verify_history(session)} == {
        "the entry does not match its own hash"
    }


def test_an_unknown_ticket_cannot_be_verified(session):
    with pytest.raises(TicketNotFound):
        tickets.verify_history(session, uuid4())
    with pytest.raises(InvalidValue, match=r"^ticket_id: "):
        tickets.verify_history(session, "TKT-0001")
