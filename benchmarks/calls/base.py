"""What a support desk's database of a given size holds: ids follow from numbers, nothing is looked up.

A larger base is an older one: 10,000 messages a day at every size, so a window of 24 hours holds as much.
Four messages make a conversation, ten a customer, and one customer in a hundred writes a fifth of all. Two
conversations in five have a ticket. There are no embeddings of messages and tickets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from uuid import UUID

ACCOUNT = "support@example.com"
AGENTS = 20
PER_DAY = 10_000
_BETWEEN = timedelta(days=1) / PER_DAY
_ORIGIN = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000)


def row_id(kind: int, number: int) -> str:
    """An id in the order of creation, as a UUIDv7 is, that follows from its number."""
    return f"{_ORIGIN + number:012x}7{kind:03x}8000{number:012x}"


def has_whatsapp(customer: int) -> bool:
    """Every third customer writes by WhatsApp, the others by email."""
    return customer % 3 == 0


def has_ticket(conversation: int) -> bool:
    return conversation % 5 in (1, 2)


@dataclass(frozen=True)
class Base:
    """A base of so many messages, the last of them written just before ``until``."""

    messages: int
    until: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def customers(self) -> int:
        return self.messages // 10

    @property
    def frequent(self) -> int:
        """How many customers write a fifth of all messages: those with the lowest numbers."""
        return max(1, self.customers // 100)

    @property
    def conversations(self) -> int:
        return self.messages // 4

    def written_at(self, message: int) -> datetime:
        return self.until - _BETWEEN * (self.messages - message)

    def writer(self, conversation: int) -> int:
        """The number of the customer who began the conversation."""
        if conversation % 5 == 0:
            return conversation // 5 % self.frequent
        return self.frequent + (conversation - conversation // 5 - 1) % (self.customers - self.frequent)

    def is_active(self, conversation: int) -> bool:
        """The last conversation of each customer who writes rarely; all others are closed."""
        return conversation % 5 != 0 and conversation >= self._first_active

    @cached_property
    def _first_active(self) -> int:
        return max(0, self.conversations - (self.customers - self.frequent) * 5 // 4)

    def active_by_email(self, *, with_ticket: bool, limit: int = 10_000) -> list[int]:
        """Active conversations whose customer writes by email, the oldest first."""
        numbers = (
            number
            for number in range(self._first_active, self.conversations)
            if self.is_active(number)
            and not has_whatsapp(self.writer(number))
            and has_ticket(number) == with_ticket
        )
        return list(islice(numbers, limit))

    def awaits_us(self, conversation: int) -> bool:
        """Of the active conversations without a ticket one in ten: the last message is the customer's."""
        return conversation % 20 == 3 and self.is_active(conversation)

    def has_stale_ticket(self, conversation: int) -> bool:
        """One ticket in ten of a closed conversation was resolved and not closed."""
        return conversation % 25 == 2 and not self.is_active(conversation)

    def with_long_record(self) -> list[int]:
        """Conversations whose tickets went from status to status and back: one ticket in a hundred."""
        return list(range(1, self.conversations, 250))

    def customer_id(self, number: int) -> UUID:
        return UUID(row_id(1, number))

    def conversation_id(self, number: int) -> UUID:
        return UUID(row_id(3, number))

    def ticket_id(self, conversation: int) -> UUID:
        """The id of the ticket of the conversation with that number."""
        return UUID(row_id(5, conversation))


def email(customer: int) -> str:
    return f"person{customer}@example.com"


def number_of(customer: int) -> str:
    return f"+49151{customer:08}"
