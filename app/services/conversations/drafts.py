"""An inbound message on its way to the database: read, checked and in canonical form, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from ...schemas import Identifier, IdentityPolicy, IdentityPolicyCode, InboundMessage
from .._shared.checks import canonical_account, checked_code, checked_flag, checked_schema
from ..identity.reading import Call, Sender, call_of, read
from ..outbox.reports import read_report
from .messages import EVENTS, refuse_own, values_of
from .threads import placing


class Draft(NamedTuple):
    """One message that can be stored, but for what only the database knows."""

    inbound: InboundMessage
    call: Call
    values: dict[str, Any]
    """What ``store_inbound_message`` takes, without the customer."""
    reports: tuple[dict[str, Any], ...]
    """What it says became of messages of ours."""
    former: tuple[Identifier, ...]
    """What is no longer the sender's, in canonical form."""

    @property
    def is_event(self) -> bool:
        return bool(self.values["is_event"])

    @property
    def may_wake(self) -> bool:
        return bool(self.values["may_wake"])


def read_sender(identifiers: Sequence[Identifier], default_region: str | None) -> Sender:
    """Who a message says wrote it: what was typed wrong beside the channel's own identifier loses nothing.

    Raises:
        InvalidValue: the channel's own identifier is ill-formed.
    """
    return read(identifiers, default_region, lenient=True)


def draft_of(
    inbound: InboundMessage,
    *,
    policy: IdentityPolicyCode,
    default_region: str | None,
    aliases: Collection[str],
    idle_after: timedelta | None,
    wake: bool | Callable[[InboundMessage], bool],
    archived: bool,
    erasure_key: str | None = None,
    read_sender: Callable[[Sequence[Identifier], str | None], Sender] = read_sender,
) -> Draft:
    """Read a message; nothing is sent.

    Raises:
        InvalidValue: the channel's own identifier, an option, or a field that cannot be stored.
        OwnMessage: the sender of a mail is the account that got it, or one of its ``aliases``.
    """
    inbound = checked_schema("inbound", inbound, InboundMessage)
    sender = read_sender(inbound.sender, default_region)
    call = call_of(
        sender,
        channel=inbound.channel,
        profile=inbound.profile,
        policy=checked_code("policy", policy, IdentityPolicy),
        default_region=default_region,
        erasure_key=erasure_key,
    )
    archived = checked_flag("archived", archived)
    account = canonical_account(inbound.channel, inbound.account)
    values = values_of(inbound, account, archived=archived) | placing(
        inbound, sender.addresses, account=account, aliases=aliases, idle_after=idle_after
    )
    refuse_own(inbound.channel, sender.addresses[0].canonical, values["accounts"])
    is_event = inbound.event in EVENTS
    may_wake = not (archived or is_event) and _wakes(inbound, wake)
    reports = tuple(read_report(report, values["accounts"]) for report in inbound.delivery_reports)
    former = read_sender(inbound.former, default_region).identifiers if inbound.former else ()
    values |= {"is_event": is_event, "may_wake": may_wake, "may_reopen": may_wake}
    return Draft(inbound, call, values, reports, former)


def _wakes(inbound: InboundMessage, wake: bool | Callable[[InboundMessage], bool]) -> bool:
    if inbound.auto_reply:
        return False
    return checked_flag("wake", wake(inbound) if callable(wake) else wake)
