"""Many messages at once leave the database that they leave one by one."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text

from app.database import make_engine, make_session_factory, transaction
from app.errors import CRMError, InvalidValue, StorageUnavailable
from app.models import Conversation, TicketStatus
from app.schemas import CustomerProfile, IdentityPolicy, OutboundMessage
from app.services import bulk, conversations, outbox
from app.testing import TicketFactory, bound_to
from tests.services.bulk import importer
from tests.services.bulk.worlds import DESK, bounce, chat, contents, correspondence, email, form, mail, number

OPTIONS = {
    "live": {},
    "archived": {"archived": True},
    "lenient, with aliases": {"policy": IdentityPolicy.LENIENT, "aliases": ["contact"]},
    "nobody is woken": {"wake": lambda message: "7" not in message.content},
}


@pytest.fixture
def other_clone(crm_databases):
    url = crm_databases.clone()
    engine = make_engine(url, allow_insecure_tls=True)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


def one_by_one(engine, messages, **options):
    """What ``ingest`` refuses of them."""
    sessions = make_session_factory(engine)
    refused = []
    for place, message in enumerate(messages, 1):
        try:
            transaction(sessions, conversations.ingest, message, **options)
        except CRMError as error:
            refused.append((place, error.code))
    return refused


def open_tickets(engine):
    """Tickets in every state on half of the conversations, of which some are closed."""
    first_ids = text("""
        SELECT m.conversation_id FROM provider_messages AS p JOIN messages AS m ON m.id = p.message_id
        ORDER BY p.provider_message_id, p.account
    """)
    with make_session_factory(engine).begin() as session, bound_to(session):
        for place, id_ in enumerate(dict.fromkeys(session.scalars(first_ids))):
            if place % 2 == 0:
                status = list(TicketStatus)[place // 2 % len(TicketStatus)]
                TicketFactory(conversation_id=id_, status=status, subject=f"Ticket {place}")
            if place % 5 == 0:
                session.get_one(Conversation, id_).status = "closed"


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_database_is_the_same_as_one_by_one(crm_clone, other_clone, options):
    messages = correspondence(170, people=18)
    for engine in (crm_clone, other_clone):
        one_by_one(engine, messages[:50])
        open_tickets(engine)
    refused = one_by_one(other_clone, messages, **options)
    report = bulk.import_messages(crm_clone, messages, batch_size=60, **options)

    assert contents(crm_clone) == contents(other_clone)
    assert [(reject.row, reject.code) for reject in report.rejects] == refused
    assert report.new + report.already_there + report.rejected == report.rows == len(messages)


def claim(value):
    return email(value, verified=False)


# Rows that stand in one batch and have to do with each other; each with people of its own.
NEIGHBOURS = {
    "a claim beside a proof is nobody's to write by": [
        chat("1a", number("+15550000001"), claim("a1@example.com")),
        mail("1b", claim("a1@example.com")),
    ],
    "answers go to the route that was used last": [
        mail("2a", "a2@example.com"),
        mail("2b", "a2@example.com", references=("2a",)),
        mail("2c", "a2@example.com", thread_id="2a", references=("2a",)),
    ],
    "an older message does not turn away where answers go": [
        mail("9a", "a9@example.com", received_at="2024-03-01T08:00:00Z"),
        mail("9b", "a9@example.com", references=("9a",), received_at="2024-03-03T08:00:00Z"),
        mail("9c", "a9@example.com", thread_id="9a", received_at="2024-03-02T08:00:00Z"),
        mail("9d", "a9@example.com", thread_id="9e", references=("9a",), received_at="2024-02-01T08:00:00Z"),
    ],
    "a look-alike's conversation is not entered by an answer": [
        form("3a", claim("\uff413@example.com")),
        form("3b", claim("a3@example.com"), references=("3a",)),
    ],
    "a report comes before what comes after it": [
        mail("4a", "a4@example.com"),
        bounce("4b", "4a"),
        mail("4c", "a4@example.com", thread_id="4a"),
    ],
    "what is answered before it is here is not answered": [
        mail("5a", "a5@example.com"),
        chat("5b", number("+15550000005")),
        form("5c", claim("a5@example.com"), number("+15550000005", verified=False), references=("5d",)),
        form("5d", claim("b5@example.com")),
    ],
    "a person is told from the next by a group": [
        chat("6a", number("+15550000006"), group_id="g"),
        chat("6b", number("+15550000006")),
        chat("6c", number("+15550000006"), group_id="g"),
    ],
    "a claim is proven, and then known": [
        mail("7a", claim("a7@example.com"), profile=CustomerProfile(name="Ana")),
        mail("7b", "a7@example.com", profile=CustomerProfile(company="Acme")),
        mail("7c", claim("a7@example.com")),
    ],
    "an old number is somebody else's": [
        chat("8a", number("+15550000008")),
        chat("8b", number("+15550000018"), number("+15550000008"), former=(number("+15550000008"),)),
        chat("8c", number("+15550000008")),
    ],
}


@pytest.mark.parametrize("archived", [True, False])
def test_rows_of_one_batch_see_each_other_as_in_their_order(crm_clone, other_clone, archived):
    messages = [message for rows in NEIGHBOURS.values() for message in rows]
    assert one_by_one(other_clone, messages, archived=archived) == []
    bulk.import_messages(crm_clone, messages, archived=archived)
    several, single = contents(crm_clone), contents(other_clone)

    for table, rows in single.items():
        assert several[table] == rows


@pytest.mark.soak
@pytest.mark.parametrize(("archived", "seed"), [(True, 1), (False, 2)])
def test_so_it_is_for_thousands(crm_clone, other_clone, seed, archived):
    messages = correspondence(5000, people=700, seed=seed)
    for engine in (crm_clone, other_clone):
        one_by_one(engine, messages[:300])
        open_tickets(engine)
    refused = one_by_one(other_clone, messages, archived=archived)
    report = bulk.import_messages(crm_clone, messages, archived=archived)

    assert contents(crm_clone) == contents(other_clone)
    assert [(reject.row, reject.code) for reject in report.rejects] == refused


def test_a_mail_of_ours_that_comes_back_is_there_already(crm_clone):
    sessions = make_session_factory(crm_clone)
    bulk.import_messages(crm_clone, [mail("<1@x>", "ana@example.com")])
    with sessions.begin() as session:
        (conversation_id,) = session.scalars(select(Conversation.id))
        answer = OutboundMessage(content="Open Settings.")
        conversations.reply(session, conversation_id, answer, actor="human:7")
        (delivery,) = outbox.claim(session)
        ours = delivery.provider_message_id
    rows = [
        mail(ours, "list@example.com", content="Open Settings.", account="help@techcorp.example"),
        mail(ours, "eva@example.com", content="Something else"),
    ]
    report = bulk.import_messages(crm_clone, rows, aliases=[DESK])

    assert (report.new, report.already_there) == (1, 1)
    named = [ours.strip("<>") in conversation for conversation in contents(crm_clone)["conversations"]]
    assert named.count(True) == 2


def test_a_second_run_changes_nothing(crm_clone):
    messages = correspondence(120, people=20)
    first = bulk.import_messages(crm_clone, messages)
    before = contents(crm_clone)
    second = bulk.import_messages(crm_clone, messages, batch_size=50)

    assert contents(crm_clone) == before
    assert (second.new, second.already_there) == (0, first.new + first.already_there)


def test_two_imports_and_live_messages_at_once_store_each_once(crm_clone):
    messages = [one for one in correspondence(120, people=15) if one.event is None and not one.former]
    with ThreadPoolExecutor(3) as pool:
        imports = [pool.submit(bulk.import_messages, crm_clone, messages, batch_size=n) for n in (20, 33)]
        live = pool.submit(one_by_one, crm_clone, messages[::-1])
        reports = [each.result(120) for each in imports]
        assert live.result(120) == []
    names = {(one.channel, one.account.lower(), one.provider_message_id, one.content) for one in messages}
    with crm_clone.connect() as connection:
        stored = connection.scalar(text("SELECT count(*) FROM messages"))
        lone = connection.scalar(text("SELECT count(*) FROM provider_messages"))
        addresses = "SELECT count(*), count(DISTINCT identifier_value) FROM customer_identifiers"
        held, distinct = connection.execute(text(addresses)).one()

    assert stored == lone == len(names)
    assert held == distinct
    assert all(report.rejected == 0 for report in reports)


def test_what_breaks_off_is_taken_up_again(crm_clone, other_clone):
    messages = correspondence(120, people=15)

    def broken_off(after):
        yield from messages[:after]
        raise ConnectionError

    for after in (0, 30, 75, 119):
        with pytest.raises(ConnectionError):
            bulk.import_messages(crm_clone, broken_off(after), batch_size=40)
    bulk.import_messages(crm_clone, messages, batch_size=50)
    bulk.import_messages(other_clone, messages, batch_size=50)

    assert contents(crm_clone) == contents(other_clone)


POINTS = [*range(1, 27), 40, 90, 95, 150]


@pytest.mark.soak
def test_an_import_that_was_killed_at_any_of_thirty_points_is_taken_up_again(crm_clone, other_clone):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.services.bulk.importer"])
    url = crm_clone.url.render_as_string(hide_password=False)
    for statement in POINTS:
        process = context.Process(target=importer.main, args=(url, statement))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        process.close()
    bulk.import_messages(crm_clone, correspondence(400, people=60))
    bulk.import_messages(other_clone, correspondence(400, people=60), batch_size=100)

    assert len(POINTS) == 30
    assert contents(crm_clone) == contents(other_clone)


def test_a_row_that_cannot_be_stored_stops_no_other(crm_clone, tmp_path, caplog):
    rows = [
        mail("<1@x>", "ana@example.com"),
        ("inbox.mbox#2", mail("<2@x>", "ana at example.com")),
        {"channel": "email", "account": DESK, "provider_message_id": "<3@x>", "email": "eva@example.com"},
        mail("<4@x>", "ana@example.com", content="a\x00b"),
        mail("<5@x>", "ana@example.com", extra={"outcome": "matched"}),
        17,
        mail("<6@x>", "eva@example.com"),
    ]
    with caplog.at_level(logging.INFO):
        report = bulk.import_messages(crm_clone, rows, rejects=tmp_path / "rejects.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]

    assert (report.rows, report.new, report.rejected) == (7, 2, 5)
    assert [(line["row"], line["source"], line["code"]) for line in lines] == [
        (2, "inbox.mbox#2", "invalid_value"),
        (3, None, "invalid_value"),
        (4, None, "invalid_value"),
        (5, None, "invalid_value"),
        (6, None, "invalid_value"),
    ]
    assert [reject.reason for reject in report.rejects] == [line["reason"] for line in lines]
    assert lines[0]["record"]["sender"][0]["value"] == "ana at example.com"
    assert "content" in lines[1]["reason"]
    assert "example" not in caplog.text


def test_rejects_are_logged_without_what_they_hold(crm_clone, caplog):
    bulk.import_messages(crm_clone, [mail("<1@x>", "ana at example.com")])

    assert "row 1 was rejected: invalid_value" in caplog.text
    assert "ana" not in caplog.text


def test_what_the_database_alone_refuses_loses_only_its_row(crm_clone):
    with crm_clone.begin() as connection:
        connection.execute(text("ALTER TABLE messages ADD CHECK (content <> 'forbidden')"))
    rows = [mail(f"<{n}@x>", f"p{n}@example.com", content=words) for n, words in enumerate(["a", "b", "c"])]
    rows.insert(1, mail("<bad@x>", "bad@example.com", content="forbidden"))
    report = bulk.import_messages(crm_clone, rows)

    assert (report.new, [reject.row for reject in report.rejects]) == (3, [2])
    assert "bad@example.com" not in "".join(contents(crm_clone)["customers"])


def test_a_generator_is_read_batch_by_batch_and_progress_follows_commits(crm_clone):
    seen = []

    def rows():
        for n in range(5):
            seen.append(f"read {n}")
            yield mail(f"<{n}@x>", "ana@example.com")

    bulk.import_messages(crm_clone, rows(), batch_size=2, progress=lambda *done: seen.append(done))

    assert seen == ["read 0", "read 1", (2, None), "read 2", "read 3", (4, None), "read 4", (5, None)]


def test_flat_fields_are_a_message(crm_clone):
    row = {
        "channel": "web_form", "account": "contact", "provider_message_id": "17", "email": "ana@example.com",
        "phone": "+15551234567", "name": "Ana", "company": "", "subject": "", "content": "Hello",
        "references": "1 2", "verified": "no", "received_at": "2020-03-01T10:00:00Z",
    }  # fmt: skip
    typed = form(
        "17", email("ana@example.com", verified=False),
        number("+15551234567", verified=False).model_copy(update={"type": "phone"}),
        profile=CustomerProfile(name="Ana"), content="Hello", references=("1", "2"),
        received_at="2020-03-01T10:00:00Z",
    )  # fmt: skip
    assert bulk.import_messages(crm_clone, [row, typed], archived=True).new == 1
    (customer,) = contents(crm_clone)["customers"]
    assert '["phone", "+15551234567", "web_form", false]' in customer
    with crm_clone.connect() as connection:
        assert connection.scalar(select(text("created_at::date::text FROM messages"))) == "2020-03-01"


@pytest.mark.parametrize("batch_size", [0, 2001, "10", True])
def test_a_batch_has_a_size(crm_clone, batch_size):
    with pytest.raises(InvalidValue):
        bulk.import_messages(crm_clone, [], batch_size=batch_size)


def test_a_file_of_rejects_that_cannot_be_written_is_said_before_anything_is_stored(crm_clone, tmp_path):
    with pytest.raises(StorageUnavailable):
        bulk.import_messages(crm_clone, [mail("<1@x>", "a@example.com")], rejects=tmp_path / "no" / "file")
    assert contents(crm_clone)["customers"] == []


def test_a_full_disk_is_said_as_one(crm_clone):
    with pytest.raises(StorageUnavailable, match="No space left"):
        bulk.import_messages(crm_clone, [17], rejects="/dev/full")


def test_a_row_that_is_no_json_is_in_the_file_as_python_shows_it(crm_clone, tmp_path):
    endless: dict = {}
    endless["itself"] = endless
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    rows = [{("a",): 1}, {b"a": 1}, {"a": float("nan")}, endless, {"a": deep}]

    bulk.import_messages(crm_clone, rows, rejects=tmp_path / "rejects.jsonl")

    lines = (tmp_path / "rejects.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=pytest.fail)["record"] for line in lines]
    assert records[:4] == ["{('a',): 1}", "{b'a': 1}", "{'a': nan}", "{'itself': {...}}"]
    assert records[4].startswith("{'a': [[[")
