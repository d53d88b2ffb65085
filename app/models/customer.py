"""Customers, and the addresses by which they are known on each channel."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..normalization import is_placeholder
from .base import Base, CreatedAt, UpdatedAt, UUIDPrimaryKey, code, code_check, metadata_column
from .channel import Channel

if TYPE_CHECKING:
    from .conversation import Conversation
    from .ticket import Ticket


class CustomerPlan(StrEnum):
    FREE = "free"
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


class IdentifierType(StrEnum):
    EMAIL = "email"
    PHONE = "phone"
    WHATSAPP = "whatsapp"


OWN_TYPE = {
    Channel.EMAIL: IdentifierType.EMAIL,
    Channel.WHATSAPP: IdentifierType.WHATSAPP,
    Channel.WEB_FORM: IdentifierType.EMAIL,
}
"""By which type of identifier a channel itself knows who writes."""

# A customer that another backend stored in its own spelling is found by its address and number too. Every
# spelling of one address or number has one key; ``app.normalization`` computes it of the canonical form.
EMAIL_KEY = (
    "regexp_replace(regexp_replace(lower(translate(normalize(email, NFKC), '\u3002\u0130', '.i') "
    "COLLATE \"C\"), 'xn--(?:([^.@]*)-)?[^.@-]*', '\\1', 'g'), '[^a-z0-9.@-]', '', 'g')"
)
PHONE_KEY = (
    '"right"(regexp_replace("substring"(translate(normalize(phone, NFKC), '
    "'\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669"
    "\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9', '01234567890123456789'), "
    "'[0-9][0-9\\s()./\\u2000-\\u206f\\u2212\\u30fc-]*'), '[^0-9]', '', 'g'), 6)"
)


class Customer(Base):
    """One person, on whatever channels they write."""

    __tablename__ = "customers"
    __table_args__ = (
        code_check("plan", CustomerPlan),
        Index("idx_customers_phone", "phone", postgresql_where=text("phone IS NOT NULL")),
        Index("idx_customers_email_key", text(EMAIL_KEY)),
        Index("idx_customers_phone_key", text(PHONE_KEY), postgresql_where=text("phone IS NOT NULL")),
        Index(
            "idx_customers_keys",
            text("customer_key_hashes(name, company, email, phone)"),
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    email: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str | None] = mapped_column(String(255))
    phone: Mapped[str | None] = mapped_column(String(50))
    company: Mapped[str | None] = mapped_column(String(255))
    plan: Mapped[CustomerPlan | None] = mapped_column(
        code(CustomerPlan, 50), server_default=CustomerPlan.FREE
    )
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    identifiers: Mapped[list[CustomerIdentifier]] = relationship(
        back_populates="customer", lazy="raise", passive_deletes="all"
    )
    conversations: Mapped[list[Conversation]] = relationship(
        back_populates="customer", lazy="raise", passive_deletes="all"
    )
    tickets: Mapped[list[Ticket]] = relationship(
        back_populates="customer", lazy="raise", passive_deletes="all"
    )

    @property
    def contact_email(self) -> str | None:
        """The address to write to; None while ``email`` is only a placeholder."""
        return None if is_placeholder(self.email) else self.email


class CustomerIdentifier(Base):
    """An address by which a customer is known. Nobody else holds it."""

    __tablename__ = "customer_identifiers"
    __table_args__ = (
        code_check("identifier_type", IdentifierType),
        code_check("channel", Channel),
        UniqueConstraint("identifier_type", "identifier_value"),
        Index("idx_identifiers_customer", "customer_id"),
        Index(
            "idx_identifiers_keys",
            text("identifier_key_hashes(identifier_type, identifier_value)"),
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"))
    identifier_type: Mapped[IdentifierType] = mapped_column(code(IdentifierType, 50))
    identifier_value: Mapped[str] = mapped_column(String(255))
    """Canonical form, see ``app.normalization``."""
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    """Where it was first seen."""
    verified: Mapped[bool | None] = mapped_column(Boolean, server_default=false())
    """Whether the channel proved that the customer controls it; else it is a claim."""
    created_at: Mapped[CreatedAt]

    customer: Mapped[Customer] = relationship(back_populates="identifiers", lazy="raise")
