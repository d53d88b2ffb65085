"""Every error a caller can meet, in three families: what is missing, what clashes, what is malformed.

Messages name the rule and the object's id, never personal data and never the database's own text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar
from uuid import UUID


class CRMError(Exception):
    """Base of every error that this package raises on purpose. Can be sent to another process."""

    code: ClassVar[str] = "crm_error"
    """Names the kind of error for programs; it stays the same when a message changes."""
    http_status: ClassVar[int] = 500
    """What a web service answers with; the family decides."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed a little later as it is, in a new transaction."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class again: several take other arguments than their message.
        return _restored, (type(self), self.args), self.__dict__


def _restored(cls: type[CRMError], args: tuple[Any, ...]) -> CRMError:
    error = cls.__new__(cls)
    error.args = args
    return error


class NotFound(CRMError):
    """The thing that was asked for does not exist."""

    http_status = 404


class Conflict(CRMError):
    """The request is well-formed but clashes with the present state."""

    http_status = 409


class Invalid(CRMError):
    """The input breaks a rule; nothing was written."""

    http_status = 422


class Unavailable(CRMError):
    """Something outside this package cannot be reached or is not installed."""

    http_status = 503


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


class EventTargetNotFound(NotFound):
    """An event, such as a reaction, is about a message that is not stored here; nothing was written."""

    def __init__(self, event: str) -> None:
        super().__init__(f"the {event} is about no message that is stored here")


class MergeNotFound(NotFound):
    """There is no such merge."""

    def __init__(self, merge_id: object) -> None:
        super().__init__(f"there is no merge {merge_id}")


class IdentifierNotFound(NotFound):
    """There is no such identifier."""

    def __init__(self, identifier_id: object) -> None:
        super().__init__(f"there is no identifier {identifier_id}")


class HoldNotFound(NotFound):
    """There is no such legal hold."""

    def __init__(self, hold_id: object) -> None:
        super().__init__(f"there is no legal hold {hold_id}")


class TicketNotFound(NotFound):
    """There is no such ticket."""

    def __init__(self, ticket: object) -> None:
        super().__init__(f"there is no ticket {ticket}")


class ChannelSettingsNotFound(NotFound):
    """Somebody has deleted the channel's row of settings."""

    def __init__(self, channel: object) -> None:
        super().__init__(f"there are no settings of the channel {channel}")


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


class CustomerErased(Conflict):
    """The customer's personal data was erased: nothing can be written for it any more."""

    def __init__(self, customer_id: object = None) -> None:
        super().__init__(f"customer {customer_id} was erased" if customer_id else "the customer was erased")


class UnderLegalHold(Conflict):
    """The customer must not be erased while the hold lasts."""

    def __init__(self) -> None:
        super().__init__("the customer is under a legal hold; nothing was erased")


class IdentifierTaken(Conflict):
    """Another customer, ``holder_id``, holds the identifier."""

    def __init__(self, holder_id: UUID) -> None:
        self.holder_id = holder_id
        super().__init__(f"customer {holder_id} holds this identifier")


class ModelReplaced(Conflict):
    """Another embedding model has taken the place of ``model``, whose worker still runs."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"another model has taken the place of {model}: stop its workers, or return with switch_back=True"
        )


class StalePlan(Conflict):
    """The customers have changed since the merge was planned."""

    def __init__(self) -> None:
        super().__init__("the customers have changed since the merge was planned; plan it again")


class MergeBlocked(Conflict):
    """Rows of other applications cannot move with their customer; ``blocked`` says why, by table."""

    def __init__(self, blocked: Mapping[str, str]) -> None:
        self.blocked = dict(blocked)
        reasons = "; ".join(f"{table}: {reason}" for table, reason in self.blocked.items())
        super().__init__(f"rows that point to the customer cannot move with it ({reasons}); nothing was done")


class StaleStatus(Conflict):
    """The ticket is no longer in the status that the caller expected."""

    def __init__(self, ticket_id: UUID, expected: str, actual: str) -> None:
        self.expected, self.actual = expected, actual
        super().__init__(f"ticket {ticket_id} was expected to be {expected} and is {actual}")


class AutoReplyLoop(Conflict):
    """Two machines seem to answer each other: the conversation had too many automatic answers of late."""

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__(f"conversation {conversation_id} had too many automatic answers of late")


class WindowClosed(Conflict):
    """WhatsApp takes free text only within 24 hours of the customer's last message, else templates."""

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__(
            f"the customer of conversation {conversation_id} has not written for 24 hours; "
            "WhatsApp takes templates only"
        )


class ChannelDisabled(Conflict):
    """The channel is switched off: nothing is to leave by it."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        super().__init__(f"the channel {channel} is switched off")


class DisclosureRefused(CRMError):
    """It must not be told: nobody has proved who writes in the conversation, or a group reads it."""

    http_status = 403

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__(
            f"nobody has proved who writes in conversation {conversation_id}, or a group reads it: "
            "nothing more may be told"
        )


class KeyReused(Conflict):
    """The idempotency key belongs to another call in the conversation."""

    def __init__(self) -> None:
        super().__init__("the idempotency key was used for another call in this conversation")


class DuplicateValue(Conflict):
    """A value that must be unique is taken."""


class ConcurrentChange(Conflict):
    """Another transaction has just written the same, and this one cannot see it: run it again."""

    retryable = True

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


class UnknownPlaceholder(InvalidValue):
    """The channel's template has a placeholder that nothing fills; ``placeholder`` is its name."""

    def __init__(self, placeholder: str, fillable: Collection[str]) -> None:
        self.placeholder = placeholder
        super().__init__(
            "response_template",
            f"has a placeholder that is none of {', '.join(sorted(fillable))}: {placeholder}",
        )


class ResponseTooLong(InvalidValue):
    """The answer's body is longer than its channel allows; ``length`` and ``limit`` are in ``unit``s."""

    def __init__(self, length: int, limit: int, unit: str) -> None:
        self.length, self.limit, self.unit = length, limit, unit
        super().__init__("body", f"has {length:,} {unit}, and the channel allows {limit:,}")


class InvalidPayload(InvalidValue):
    """A provider's payload misses a field or carries one that cannot be read; ``field`` names it."""


class OwnMessage(InvalidPayload):
    """Not a customer's message: a copy of what one of our own accounts sent."""


class UnwantedMessage(InvalidPayload):
    """A mail of an archive that its mailbox had among spam, or had thrown away."""


class InvalidVector(Invalid):
    """A vector has the wrong length, is not finite, has no direction, or is of another model."""


class EmbedderUnavailable(Unavailable):
    """The embedding service failed, or its package is not installed."""

    retryable = True


class StorageUnavailable(Unavailable):
    """The content of attachments cannot be stored."""

    retryable = True


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached or is not what this package needs."""

    retryable = True


class LoginRefused(DatabaseUnavailable):
    """The server refused the user or the password: waiting does not help."""

    retryable = False


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost during the commit: whether it took effect is unknown."""

    retryable = False

    def __init__(self) -> None:
        super().__init__("the connection was lost during the commit: whether it took effect is unknown")


class EmbeddedUnavailable(DatabaseUnavailable):
    """The embedded PostgreSQL server cannot be used here."""

    retryable = False


class MigrationError(CRMError):
    """The schema could not be brought to the revision that was asked for."""


class UnknownRevision(MigrationError):
    """The database's revision is not one of this installation's, or not one of this application's."""


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
