"""What each command is for, and the module that brings it: known without importing any."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A line of a list of commands."""

    module: str
    summary: str


COMMANDS = {
    "conversations": Entry("conversations", "List conversations, newest first."),
    "conversation": Entry(
        "conversations",
        "Show what was said in a conversation: the new text of each message, and what became of answers.",
    ),
    "timeline": Entry(
        "conversations",
        "Show all that happened to a customer: messages, tickets, their changes, decisions about identity.",
    ),
    "reply": Entry(
        "conversations",
        "Store an answer in its channel's template. Nothing is sent: it waits in the outbox for its sender.",
    ),
    "import": Entry(
        "imports",
        "Store the rows of a file. It can be run again, also after a kill: what is stored is passed over.",
    ),
    "demo": Entry(
        "messages", "Run a small support desk over the example inbox, and show what the database knows then."
    ),
    "ingest": Entry(
        "messages", "Store messages as providers deliver them. What was stored before changes nothing."
    ),
    "search": Entry("messages", "Find the articles of the knowledge base that answer a question."),
    "history": Entry("messages", "Show one customer's messages over all channels."),
    "doctor": Entry("operations", "Examine the database, after a deployment and from cron."),
    "ticket": Entry(
        "tickets", "Show a ticket, its audit trail (who changed it, when and why) and its conversation."
    ),
    "report": Entry(
        "reports", "Show how the tickets of the last DAYS fared: first response, resolution, reopens."
    ),
    "knowledge": Entry("program", "The articles that questions are answered from."),
    "channels": Entry("program", "How we talk on each channel: length, tone, template."),
    "customers": Entry("program", "Customers who are one person, and what was decided about them."),
    "db": Entry("program", "The database: where it is, its schema, its roles, a backup put back."),
    "tickets": Entry("tickets", "List tickets, and look after them."),
    "knowledge ingest": Entry(
        "knowledge", "Store documents as articles, and embed them. What did not change costs nothing."
    ),
    "knowledge list": Entry("knowledge", "Show which articles there are, by source and title."),
    "knowledge deactivate": Entry("knowledge", "Take articles out of every search."),
    "knowledge calibrate": Entry(
        "calibration", "Measure the confidence that tells questions with an answer from others, and keep it."
    ),
    "knowledge embed": Entry(
        "indexes", "Embed articles, messages and tickets that have no embedding of their present text."
    ),
    "knowledge status": Entry(
        "indexes",
        "Show what is embedded by which model, what is stale or missing, and what an embedder has refused.",
    ),
    "knowledge reindex": Entry("indexes", "Build search indexes anew while reads and writes go on."),
    "knowledge language": Entry(
        "indexes",
        "Show the language in which searches read words, or choose another and build their indexes anew.",
    ),
    "channels show": Entry("channels", "Show the channels' settings."),
    "channels edit": Entry("channels", "Change a channel's settings; what is not named stays."),
    "customers duplicates": Entry(
        "customers", "Show the customers who may be one person, with the evidence."
    ),
    "customers merge": Entry(
        "customers", "Make two customers one, after showing what that would do. It can be undone."
    ),
    "customers unmerge": Entry("customers", "Take a merge back: the absorbed customer and exactly its rows."),
    "customers reject": Entry(
        "customers", "Keep that two customers are two people; they are not shown as duplicates again."
    ),
    "customers events": Entry(
        "customers", "Show what was decided about a customer, and about those who became part of it."
    ),
    "customers normalize": Entry(
        "customers", "Bring addresses that other backends stored in their own spelling to the canonical form."
    ),
    "customers export": Entry(
        "privacy", "Write everything that is kept about a customer to standard output, as one JSON document."
    ),
    "customers erase": Entry(
        "privacy", "Erase a customer's personal data for good, after showing what that would do."
    ),
    "customers hold": Entry(
        "privacy", "Forbid erasing a customer, whoever it is merged into, until the hold is released."
    ),
    "customers release": Entry("privacy", "End a legal hold."),
    "db upgrade": Entry("schema", "Bring the database to a revision, by default to the newest."),
    "db downgrade": Entry("schema", 'Take the database back to a revision; "base" removes everything.'),
    "db current": Entry("schema", "Show the database's revision."),
    "db check": Entry(
        "schema", "Compare the database with what the migrations make; exit code 1 and a list if it differs."
    ),
    "db url": Entry(
        "schema", "Print the database's URL with its password, for: export DATABASE_URL=$(crm db url)"
    ),
    "db wait": Entry(
        "schema", "Wait until the database answers; a refused user or password ends it at once."
    ),
    "db restore": Entry(
        "schema",
        "Put a backup into the database, which must be empty. A replaced one stays under another name.",
    ),
    "db roles": Entry(
        "operations",
        "Create the database's roles, or repair their rights; what is right already is left alone.",
    ),
    "tickets verify": Entry(
        "tickets", "Check every entry of the audit trail; exit code 1 if somebody has tampered with it."
    ),
    "tickets reopen": Entry(
        "tickets",
        "Take up a finished ticket; one closed more than CRM_REOPEN_GRACE_DAYS ago gets a follow-up.",
    ),
    "tickets close": Entry(
        "tickets", "Close what was resolved more than DAYS ago. Several of these can run at once."
    ),
    "tickets regressions": Entry("tickets", "List what an AI resolved and came back within DAYS."),
}
"""In the order in which help shows them."""
