"""A server whose clock is set back by a day while it runs: what has an order keeps it."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from app import embedded, migrations
from app.database import make_engine, make_session_factory, transaction
from app.errors import EmbeddedUnavailable
from app.models import Channel
from app.operations.doctor import Severity, examine
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import conversations, merging, outbox, tickets
from app.testing import TicketFactory, bound_to
from tests.services._feed import caught_up

COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        COMPILER is None or sys.platform != "linux", reason="needs Linux and a C compiler, for the clock"
    ),
]

DAY = 86_400
WHY = {"actor": "human:7", "reason": "one person"}
# Loaded before the C library: what it takes for the time is the time and as many seconds as the file holds.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
    static volatile long *seconds;
    if (!seconds)
        seconds = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, open(getenv("CLOCK_OFFSET"), O_RDONLY), 0);
    return *seconds;
}
int gettimeofday(struct timeval *now, void *zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += offset();
    return result;
}
time_t time(time_t *now) {
    struct timeval value;
    gettimeofday(&value, NULL);
    if (now) *now = value.tv_sec;
    return value.tv_sec;
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[Engine, Callable[[int], None]]]:
    """A migrated server of our own, and what sets its clock."""
    try:
        server = embedded.start(tmp_path_factory.mktemp("clock"), durable=False)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    data, folder = server.directory / "data", server.directory
    migrations.upgrade(server.url)
    (folder / "clock.c").write_text(CLOCK)
    library, offset = folder / "clock.so", folder / "offset"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, folder / "clock.c", "-ldl"], check=True)
    offset.write_bytes(struct.pack("l", 0))
    for path in (library, offset):
        path.chmod(0o755)
    owner = data.stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with (folder / "clock.log").open("w") as log:
        subprocess.run(
            [server.bin / "pg_ctl", "restart", "-s", "-w", "-m", "fast", "-D", data],
            env={"PATH": os.defpath, "LC_ALL": "C", "LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            check=True,
            **account,
        )
    engine = make_engine(server.url)
    with offset.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:

        def set_clock(seconds: int) -> None:
            shared[:8] = struct.pack("l", seconds)

        try:
            yield engine, set_clock
        finally:
            engine.dispose()
            embedded.release(server)
            shutil.rmtree(server.directory)


def mail(number: int, sender: str = "wanda") -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"m{number}",
        sender=(Identifier(type="email", value=f"{sender}@post.example", verified=True),),
        content="Help",
    )


def claimed(sessions: sessionmaker[Session]) -> list[UUID]:
    return transaction(
        sessions, lambda session: [entry.message_id for entry in outbox.claim(session, limit=9)]
    )


def test_record_feed_merges_and_deliveries_hold_when_the_clock_goes_back_a_day(server):
    engine, set_clock = server
    sessions = make_session_factory(engine)
    now = text("SELECT clock_timestamp()")
    first = transaction(sessions, conversations.ingest, mail(1))
    other = transaction(sessions, conversations.ingest, mail(2, "w.other"))
    words = OutboundMessage(content="Coming")
    earlier = transaction(sessions, conversations.reply, first.conversation_id, words)
    with Session(engine) as session, bound_to(session):
        ticket_id = TicketFactory().id
        tickets.change_status(session, ticket_id, "processing", actor="human:7", comment="before")
        merge_id = merging.merge(session, first.customer_id, other.customer_id, **WHY).id
        session.commit()
        before = caught_up(session)
        read = session.scalar(now)
        session.commit()

    set_clock(-DAY)

    with Session(engine) as session:
        assert timedelta(hours=23) < read - session.scalar(now) < timedelta(hours=25)
        tickets.change_status(session, ticket_id, "resolved", actor="human:7", comment="after")
        session.commit()
    # What was delivered is known, what is new is stored, and an answer is due now and not in a day.
    assert transaction(sessions, conversations.ingest, mail(1)).duplicate
    later = transaction(sessions, conversations.ingest, mail(3, "w.other"))
    assert (later.duplicate, later.customer_id) == (False, first.customer_id)
    answer = transaction(sessions, conversations.reply, later.conversation_id, words)
    assert claimed(sessions) == [answer.id]
    with Session(engine) as session:
        history = tickets.status_history(session, ticket_id)
        assert [entry.comment for entry in history][-2:] == ["before", "after"]
        assert tickets.verify_history(session) == []
        page = caught_up(session, before.token)
        assert {ticket_id, later.message_id} <= {change.id for change in page.changes}
        report = merging.unmerge(session, merge_id, actor="human:7", reason="two after all")
        # The message and the answer, whatever the clock says.
        assert report.messages_since == 2
        session.commit()
    # What came while they were one stayed with the survivor, and is no fault.
    severities = {finding.check: finding.severity for finding in examine(engine).findings}
    assert set(severities.values()) == {Severity.INFO}
    assert "left_by_unmerge" in severities

    # What was due before is due when the clock has caught up.
    assert claimed(sessions) == []
    set_clock(0)
    assert earlier.id in claimed(sessions)
