"""Whether rows still say what happened: tickets and their record, redirects, and whose a row is."""

from __future__ import annotations

from ...schemas import HistoryFault
from .patient import Check, Patient, Severity, check

_NUMBERED = "SELECT max(substring(ticket_number FROM '^TKT-([0-9]{1,18})$')::bigint) AS highest FROM tickets"
# What came between a merge and its undoing stays with the survivor when the conversation goes back. No time
# tells: a message of an archive is older than its arrival, and a clock may be set back.
_LEFT_BY_UNMERGE = """
    EXISTS (
        SELECT FROM customer_merge_moves AS move
        WHERE move.table_name = 'conversations' AND move.row_id = conversation.id
            AND move.returned_at IS NOT NULL
    ) AND EXISTS (
        SELECT FROM customer_merge_moves AS move JOIN customer_merges AS merge ON merge.id = move.merge_id
        LEFT JOIN customer_redirects AS redirect ON redirect.absorbed_id = merge.survivor_id
        WHERE move.table_name = 'conversations' AND move.row_id = conversation.id
            AND item.customer_id IN (merge.survivor_id, redirect.customer_id)
    )
"""


def _faults(patient: Patient, *, unrecorded: bool) -> list[str]:
    return [
        f"{finding.ticket_number} ({finding.record}): {finding.problem}"
        for finding in patient.records
        if (finding.fault is HistoryFault.UNRECORDED) is unrecorded
    ]


@check(
    "tickets",
    Severity.ERROR,
    what="tickets are not what the last entry of their record says: somebody got round the triggers",
    mend="find out who; then set the ticket to what is right, which is recorded",
)
def tickets(patient: Patient) -> list[str]:
    return _faults(patient, unrecorded=True)


@check(
    "records",
    Severity.ERROR,
    what="entries of tickets' records were changed, removed or added by hand",
    mend="keep it as evidence, and compare with a backup; a record is never mended",
)
def records(patient: Patient) -> list[str]:
    return _faults(patient, unrecorded=False)


def _renumber(patient: Patient) -> None:
    # The lock keeps others from drawing a number in between.
    patient.run(f"""
        LOCK TABLE tickets IN SHARE ROW EXCLUSIVE MODE;
        SELECT setval('ticket_number_seq', GREATEST(highest, last_value))
        FROM ({_NUMBERED}) AS tickets, ticket_number_seq
    """)  # noqa: S608 - no input


ticket_numbers = Check(
    name="ticket_numbers",
    severity=Severity.ERROR,
    what="the next ticket would get a number that is taken",
    mend="crm doctor --fix sets the sequence behind the highest number",
    find=f"""
    SELECT highest::text FROM ({_NUMBERED}) AS tickets, ticket_number_seq
    WHERE highest >= last_value + is_called::int
    """,  # noqa: S608 - no input
    fix=_renumber,
)
redirects = Check(
    name="redirects",
    severity=Severity.ERROR,
    what="absorbed customers do not lead to a living one in one step",
    mend="point customer_redirects.customer_id at the customer who has the rows today",
    find="""
    SELECT r.absorbed_id::text FROM customer_redirects AS r
    WHERE EXISTS (SELECT FROM customer_redirects AS next WHERE next.absorbed_id = r.customer_id)
        OR EXISTS (SELECT FROM customers WHERE id = r.absorbed_id)
        OR NOT EXISTS (SELECT FROM customers WHERE id = r.customer_id)
    UNION SELECT m.absorbed_id::text FROM customer_merges AS m
    WHERE m.undone_at IS NULL AND NOT EXISTS (
        SELECT FROM customer_redirects AS r WHERE r.absorbed_id = m.absorbed_id
    )
    """,
)


def _of_another_customer(table: str, *, left_by_unmerge: bool) -> str:
    return f"""
        SELECT item.id::text FROM {table} AS item
        JOIN conversations AS conversation ON conversation.id = item.conversation_id
        WHERE item.customer_id <> conversation.customer_id
            AND {"" if left_by_unmerge else "NOT"} ({_LEFT_BY_UNMERGE})
    """  # noqa: S608 - names of our own


messages_of_others = Check(
    name="messages_of_others",
    severity=Severity.ERROR,
    what="messages belong to another customer than their conversation",
    mend="find out whose they are, and set the other's customer_id",
    find=_of_another_customer("messages", left_by_unmerge=False),
)
tickets_of_others = Check(
    name="tickets_of_others",
    severity=Severity.ERROR,
    what="tickets belong to another customer than their conversation",
    mend="find out whose they are, and set the other's customer_id",
    find=_of_another_customer("tickets", left_by_unmerge=False),
)
left_by_unmerge = Check(
    name="left_by_unmerge",
    severity=Severity.INFO,
    what="messages came between a merge and its undoing, and stayed with the survivor",
    mend="decide whose they are, and set customer_id",
    find=_of_another_customer("messages", left_by_unmerge=True),
)
