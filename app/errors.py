"""Every error a caller can meet, in three families: what is missing, what clashes, what is malformed.

Messages name the rule and the object's id, never personal data and never the database's own text.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID


class CRMError(Exception):
    """Base of every error that this package raises on purpose. Can be sent to another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class again: several take other arguments than their message.
        return _restored, (type(self), self.args), self.__dict__


def _restored(cls: type[CRMError], args: tuple[Any, ...]) -> CRMError:
    error = cls.__new__(cls)
    error.args = args
    return error


class NotFound(CRMError):
    """The thing that was asked for does not exist."""


class Conflict(CRMError):
    """The request is well-formed but clashes with the present state."""


class Invalid(CRMError):
    """The input breaks a rule; nothing was written."""


class Unavailable(CRMError):
    """Something outside this package cannot be reached or is not installed."""


class CustomerNotFound(NotFound):
    """There is no such customer."""

    def __init__(self, customer_id: object) -> None:
        super().__init__(f"there is no customer {customer_id}")


class ConversationNotFound(NotFound):
    """There is no such conversation."""

    def __init__(self, conversation_id: object) -> None:
        super().__init__(f"there is no conversation {conversation_id}")


class MessageNotFound(NotFound):
    """There is no such message."""

    def __init__(self, message_id: object) -> None:
        super().__init__(f"there is no message {message_id}")


class MergeNotFound(NotFound):
    """There is no such merge."""

    def __init__(self, merge_id: object) -> None:
        super().__init__(f"there is no merge {merge_id}")


class IdentifierNotFound(NotFound):
    """There is no such identifier."""

    def __init__(self, identifier_id: object) -> None:
        super().__init__(f"there is no identifier {identifier_id}")


class TicketNotFound(NotFound):
    """There is no such ticket."""

    def __init__(self, ticket: object) -> None:
        super().__init__(f"there is no ticket {ticket}")


class ArticleNotFound(NotFound):
    """There is no such article in the knowledge base."""

    def __init__(self, article: object) -> None:
        super().__init__(f"there is no article {article}")


class IllegalTransition(Conflict):
    """The ticket's state machine has no such step."""

    def __init__(self, old_status: str, new_status: str, legal: Collection[str] = ()) -> None:
        self.old_status, self.new_status, self.legal = old_status, new_status, tuple(legal)
        allowed = ", ".join(self.legal) or "nothing"
        super().__init__(
            f"a ticket cannot go from {old_status} to {new_status}; from {old_status} it may go to {allowed}"
        )


class SelfMerge(Conflict):
    """A customer cannot be merged into itself."""

    def __init__(self) -> None:
        super().__init__("a customer cannot be merged into itself")


class AlreadyAbsorbed(Conflict):
    """The customer lives on in another one, ``current_id``."""

    def __init__(self, customer_id: UUID, current_id: UUID) -> None:
        self.current_id = current_id
        super().__init__(f"customer {customer_id} was absorbed and lives on as {current_id}")


class IdentifierTaken(Conflict):
    """Another customer, ``holder_id``, holds the identifier."""

    def __init__(self, holder_id: UUID) -> None:
        self.holder_id = holder_id
        super().__init__(f"customer {holder_id} holds this identifier")


class StalePlan(Conflict):
    """The customers have changed since the merge was planned."""

    def __init__(self) -> None:
        super().__init__("the customers have changed since the merge was planned; plan it again")


class StaleStatus(Conflict):
    """The ticket is no longer in the status that the caller expected."""

    def __init__(self, ticket_id: UUID, expected: str, actual: str) -> None:
        self.expected, self.actual = expected, actual
        super().__init__(f"ticket {ticket_id} was expected to be {expected} and is {actual}")


class DuplicateValue(Conflict):
    """A value that must be unique is taken."""


class ConcurrentChange(Conflict):
    """Another transaction has just written the same, and this one cannot see it: run it again."""

    def __init__(self) -> None:
        super().__init__("another transaction has just written the same; run this one again")


class AppendOnly(Conflict):
    """Audit records can be neither changed nor removed."""


class BrokenReference(Conflict):
    """The row points to one that does not exist, or others still point to the row."""


class InvalidValue(Invalid):
    """One field of the input breaks a rule; ``field`` names it."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


class InvalidPayload(InvalidValue):
    """A provider's payload misses a field or carries one that cannot be read; ``field`` names it."""


class InvalidVector(Invalid):
    """A vector has the wrong length, is not finite, has no direction, or is of another model."""


class EmbedderUnavailable(Unavailable):
    """The embedding service failed, or its package is not installed."""


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached or is not what this package needs."""


class EmbeddedUnavailable(DatabaseUnavailable):
    """The embedded PostgreSQL server cannot be used here."""


class MigrationError(CRMError):
    """The schema could not be brought to the revision that was asked for."""


class SchemaDiffers(MigrationError):
    """The schema is not the one that it should be; ``differences`` names every place, one line each."""

    def __init__(self, problem: str, differences: Collection[str]) -> None:
        self.differences = tuple(differences)
        super().__init__("\n".join([problem, *(f"  {difference}" for difference in self.differences)]))


class DataLoss(MigrationError):
    """The downgrade would lose rows, and nobody has allowed it."""

    def __init__(self, tables: Collection[str]) -> None:
        self.tables = tuple(tables)
        super().__init__(
            f"the downgrade would lose rows of {', '.join(self.tables)}; nothing was changed; "
            "allow it with -x allow-data-loss=true (crm: --allow-data-loss)"
        )


class BackupError(CRMError):
    """A backup could not be made, proved or restored."""


def from_database(error: BaseException) -> CRMError | None:
    """What a refusal by the database means; None for an error that is none of its rules.

    Takes an error of psycopg, or of SQLAlchemy around one. The message names the constraint and nothing of
    the database's own text, whose DETAIL repeats the row.
    """
    cause: Any = getattr(error, "orig", None) or error
    diagnostics = getattr(cause, "diag", None)
    rule = getattr(diagnostics, "constraint_name", None) or ""
    if rule == "tickets_status_transition":
        return Conflict("the ticket's state machine has no such step")
    meanings: dict[str, CRMError] = {
        "23505": DuplicateValue(f"a value that must be unique is taken ({rule})"),
        "23503": BrokenReference(f"a row points to one that does not exist ({rule})"),
        "23001": AppendOnly(f"audit records can be neither changed nor removed ({rule})"),
        "23514": InvalidValue(rule, "the value is none of those allowed"),
        "23502": InvalidValue(getattr(diagnostics, "column_name", None) or "value", "must not be empty"),
        "22001": InvalidValue("text", "is longer than its column"),
    }
    return meanings.get(getattr(cause, "sqlstate", None) or "")
