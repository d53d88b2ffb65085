"""How the command line shows customers who may be one person, and what was decided about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...models import Base, Customer, IdentityEvent
from ...schemas import DuplicateCandidate, Fate, MergePlan, NormalizationReport, UnmergeReport
from .tables import facts, moment, new_table, plain, safe

_MOST_SHOWN = 50
_FATES = {
    Fate.REWRITTEN: ("rewritten", "to be rewritten"),
    Fate.JOINED: (
        "joined with the customer's other spelling",
        "to be joined with the customer's other spelling",
    ),
    Fate.COLLISION: ("left: other customers have it too",) * 2,
    Fate.UNREADABLE: ("left: cannot be read",) * 2,
}


def who(customer: Customer) -> str:
    """A person in a few words, on one line."""
    reached = customer.contact_email or customer.phone or f"customer {customer.id}"
    return plain(f"{customer.name or '(no name)'} ({reached})")


def customers(persons: Sequence[Customer], messages: Mapping[UUID, Mapping[str, int]]) -> Table:
    """Who is known by what, and how many messages came through which channel."""
    table = new_table("customer", "known by", "wrote through")
    for person in persons:
        table.add_row(
            safe(person.name or "(no name)"),
            _addresses(person) or Text("nothing that identifies anybody", "dim"),
            ", ".join(f"{channel} {count}" for channel, count in sorted(messages[person.id].items())),
        )
    return table


def _addresses(customer: Customer) -> Text:
    """One a line, the proven ones first."""
    ordered = sorted(customer.identifiers, key=lambda one: (not one.verified, one.identifier_value))
    return Text("\n").join(
        Text.assemble(("✓ ", "green") if one.verified else ("? ", "yellow"), safe(one.identifier_value))
        for one in ordered
    )


_PROFILE: Mapping[str, Callable[[Customer], Text]] = {
    "name": lambda customer: safe(customer.name or ""),
    "known by": _addresses,
    "email": lambda customer: safe(customer.contact_email or ""),
    "phone": lambda customer: safe(customer.phone or ""),
    "company": lambda customer: safe(customer.company or ""),
    "plan": lambda customer: safe(customer.plan or ""),
    "since": lambda customer: Text(moment(customer.created_at) if customer.created_at else ""),
}


def people(titles: Sequence[str], pair: Sequence[Customer]) -> RenderableType:
    """Two customers side by side; their ids above, where nothing breaks them."""
    ids = facts({title: str(customer.id) for title, customer in zip(titles, pair, strict=True)})
    table = new_table("", *titles)
    for column in table.columns[1:]:
        column.overflow = "fold"
    for name, read in _PROFILE.items():
        cells = [read(customer) for customer in pair]
        if any(cells):
            table.add_row(Text(name, "dim"), *(cell or Text("-", "dim") for cell in cells))
    return Group(ids, table)


def candidates(pairs: Sequence[DuplicateCandidate], customers: Mapping[UUID, Customer]) -> RenderableType:
    """Pair by pair, the evidence with the sum that is the score."""
    return Group(*(_candidate(n, one, customers) for n, one in enumerate(pairs, 1) if one.a_id in customers))


def _candidate(number: int, pair: DuplicateCandidate, customers: Mapping[UUID, Customer]) -> RenderableType:
    evidence = new_table("bits", "evidence")
    evidence.columns[0].justify = "right"
    for one in pair.evidence:
        style = "green" if one.weight_bits > 0 else "red"
        evidence.add_row(Text(f"{one.weight_bits:+.2f}", style), safe(f"{one.signal}: {one.detail}"))
    evidence.add_row(Text(f"{pair.score:+.2f}", "bold"), Text(f"in all: {odds(pair.score)}", "bold"))
    both = people(("A", "B"), [customers[pair.a_id], customers[pair.b_id]])
    return Group(Text(f"{number}.", "bold"), Padding(Group(both, "", evidence), (0, 0, 1, 2)))


def odds(bits: float) -> str:
    """What a score means."""
    times = "more than a million" if abs(bits) > 20 else f"{2 ** abs(bits):,.0f}"
    return f"{times} to 1 that they are {'one person' if bits >= 0 else 'two people'}"


def plan(planned: MergePlan, survivor: Customer, absorbed: Customer) -> RenderableType:
    """What a merge would do."""
    kept = [
        f"{_field(survivor, field)}{_instead(absorbed, field)}"
        for field in planned.keeps
        if field != "email" or absorbed.contact_email
    ]
    both_open = f"on {', '.join(planned.both_open)}: both conversations stay open"
    blocked = [f"{table}: {reason}" for table, reason in planned.blocked.items()]
    effects = facts(
        {
            "moves": _counted(planned.rows) or "nothing",
            "cannot move": "; ".join(blocked) or None,
            "fills": ", ".join(_field(absorbed, field) for field in planned.fills) or "nothing",
            "keeps": ", ".join(kept) or None,
            "both open": both_open if planned.both_open else None,
        }
    )
    return Group(people(("survivor", "absorbed"), [survivor, absorbed]), "", effects, "")


def _counted(rows: Mapping[str, int]) -> str | None:
    names = {table: table.replace("_", " ") if table in Base.metadata.tables else table for table in rows}
    return ", ".join(f"{names[table]} {count}" for table, count in rows.items() if count) or None


def _field(customer: Customer, field: str) -> str:
    return field if field == "metadata" else f"{field} {getattr(customer, field)}"


def _instead(customer: Customer, field: str) -> str:
    return "" if field == "metadata" else f" (not {getattr(customer, field)})"


def unmerged(report: UnmergeReport) -> RenderableType:
    """What went back, and what a person has to look at."""
    return facts(
        {
            "restored": str(report.restored_id),
            "taken from": str(report.survivor_id),
            "went back": _counted(report.returned) or "nothing",
            "did not": _counted(report.stayed),
            "since then": f"{report.messages_since} messages came in conversations that went back; they stay"
            if report.messages_since
            else None,
            "undecided": ", ".join(report.undecided_fields) or None,
        }
    )


def events(
    customer: Customer, rows: Iterable[IdentityEvent], addresses: Mapping[UUID, str]
) -> RenderableType:
    """Decisions about a customer, and about those whom it absorbed, in the order in which they were made."""
    lines: list[RenderableType] = []
    for row in rows:
        lines.append(
            Text.assemble(f"{moment(row.created_at)}  ", (f"{row.event:13}", "bold"), "  ", safe(row.actor))
        )
        details = facts(
            {
                "customer": str(row.customer_id) if row.customer_id != customer.id else None,
                "other": str(row.other_customer_id) if row.other_customer_id else None,
                "address": addresses.get(row.identifier_id, "no longer known") if row.identifier_id else None,
                "merge": str(row.merge_id) if row.merge_id else None,
                "reason": row.reason,
            }
        )
        lines.append(Padding(details, (0, 0, 0, 2), expand=False))
    return Group(*lines)


def normalized(report: NormalizationReport, *, done: bool) -> RenderableType:
    """The values that are not in canonical form, by what becomes of them."""
    parts: list[RenderableType] = []
    for fate, (past, future) in _FATES.items():
        values = report.of(fate)
        if not values:
            continue
        parts.append(Text(f"{len(values)} {past if done else future}", "bold"))
        for value in values[:_MOST_SHOWN]:
            outcome = f" → {value.canonical}" if value.canonical else f" ({value.problem})"
            holders = "".join(f"\n  {holder}" for holder in value.holders)
            line = safe(f"{value.stored}{outcome}  {value.column}, customer {value.customer_id}{holders}")
            parts.append(Padding(line, (0, 0, 0, 2), expand=False))
        if len(values) > _MOST_SHOWN:
            parts.append(Text(f"  and {len(values) - _MOST_SHOWN} more", "dim"))
    parts.append(f"{report.checked} addresses checked")
    return Group(*parts)
