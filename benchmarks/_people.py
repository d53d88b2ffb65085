"""Labelled customers for benchmarks: people, and what becomes of them in a support desk."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import accumulate, combinations
from uuid import UUID

from sqlalchemy import Engine

from app.models import uuid7

PROVIDERS = ("gmail.com", "gmail.com", "gmail.com", "outlook.com", "yahoo.com", "icloud.com", "gmx.net")
TYPED_WRONG = {"gmail.com": "gmial.com", "outlook.com": "outlok.com", "yahoo.com": "yaho.com"}
GIVEN = """
    Maria José Ana Juan Mohammed James Mary Ahmed Fatima John Ali Wei Carlos Elena Luis Paula Paulo
    Daniel Daniela Mario Laura Miguel Sofía Lucas Lucía Peter Petra Jan Jana Andrea André Nina Nils Emma
    Emily Ella Noah Nora Omar Amir Amira Yusuf Aisha Zoë Chloé Björn Jürgen Günter Łukasz Renée Tomás
    Thomas Marta Marco Marcos Pedro Gabriel Gabriela Rafael Rafaela Bruno Bruna Felipe Fernanda Fernando
    Igor Ivan Ivana Olga Oleg Anna Hannah Sara Sarah Rebecca David Davide Simon Simone Michael Michaela
    Martin Martina Christian Christina Stephen Stefan Kim Minh Linh Nguyet Priya Raj Rajesh Sanjay
    Sunita Deepak Kavita Chen Li Na Min Hiroshi Yuki Akira Sakura
"""
FAMILY = """
    Silva Santos García Rodríguez Martínez López Smith Johnson Williams Brown Jones Müller Schmidt
    Schneider Fischer Weber Khan Ahmed Hussain Ali Nguyen Tran Le Wang Li Zhang Chen Kumar Singh Sharma
    Patel Kim Lee Park Rossi Russo Ferrari Dubois Martin Bernard Moreau Kowalski Nowak Novák Horvat
    Ivanov Petrov Popov Andersson Johansson Hansen Olsen Jensen Nielsen Costa Souza Oliveira Pereira
    Almeida Fernández Gómez Díaz Pérez
"""
SYLLABLES = "ba be bo da de do ga go ha ka ke ko la le lo ma me mi mo na ne no ra re ri ro sa se so ta te to"
ENDINGS = "n s nd rt l ck nn sen ez ini ova ski er mann ley ton"
TRADES = "Logistics Foods Software Energy Media Health Travel Textiles Motors Consulting"
LEGAL_FORMS = ("", "", "", " Ltd", " GmbH", " Inc.", " S.A.")


@dataclass
class Person:
    given: str
    family: str
    company: str | None
    number: str
    handle: str
    provider: str


@dataclass
class Account:
    """What a support desk knows of a person: one row of ``customers`` with its identifiers."""

    person: Person
    email: str | None
    name: str | None
    phone: str | None = None
    company: str | None = None
    proven: str | None = "email"
    claimed: bool = False
    """Whether the telephone number is an identifier too, as after a web form."""
    id: UUID = field(default_factory=uuid7)


def plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.lower().replace("ł", "l"))
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())


class World:
    """Draws people and their accounts; the same seed draws the same ones."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = random.Random(seed)
        self.given = self._names(GIVEN.split(), 900)
        self.family = self._names(FAMILY.split(), 20_000)
        makers = self._names([], max(size // 25, 5))[0]
        self.companies = self._weighted(
            [f"{maker} {self.random.choice(TRADES.split())}" for maker in makers], 3
        )
        self.accounts: list[Account] = []
        self.events: list[tuple[UUID, UUID, str]] = []
        self.mailboxes: set[str] = set()
        while len(self.accounts) < size:
            self._add_household()
        del self.accounts[size:]

    def _names(self, known: Sequence[str], count: int) -> tuple[list[str], list[float]]:
        names = dict.fromkeys(known)
        while len(names) < count:
            middle = "".join(self.random.choices(SYLLABLES.split(), k=self.random.choice((1, 2, 2, 3))))
            names[(middle + self.random.choice(ENDINGS.split())).title()] = None
        return self._weighted(list(names), 8)

    def _weighted(self, values: list[str], flat: int) -> tuple[list[str], list[float]]:
        """Few are common and many are rare."""
        return values, list(accumulate(1 / (rank + flat) for rank in range(len(values))))

    def _pick(self, values: tuple[list[str], list[float]]) -> str:
        return self.random.choices(values[0], cum_weights=values[1])[0]

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _number(self) -> str:
        return f"+4915{self.random.randrange(10**9):09}"

    def _person(self, **known: str) -> Person:
        given, family = self._pick(self.given), self._pick(self.family)
        company = self._pick(self.companies) if self._chance(0.6) else None
        person = Person(given, family, company, self._number(), "", self.random.choice(PROVIDERS))
        person = replace(person, **known)
        one, two = plain(person.given), plain(person.family)
        year = str(self.random.randrange(60, 99)) if self._chance(0.5) else ""
        styles = (f"{one}.{two}", f"{one}{two}", f"{one[0]}{two}", f"{two}{one[0]}")
        person.handle = self.random.choice(styles) + year
        if self._chance(0.2):
            plays = self._pick(self.family) + self.random.choice(SYLLABLES.split())
            person.handle = f"{plain(plays)}{self.random.randrange(100)}"
        return person

    def _full(self, person: Person) -> str:
        return f"{person.given} {person.family}"

    def _at_work(self, person: Person, company: str) -> str:
        return f"{plain(person.given)}.{plain(person.family)}@{plain(company)}.example"

    def _free(self, email: str) -> str:
        """The address, or one like it where somebody has its mailbox."""
        local, _, domain = email.partition("@")
        wanted = local
        while (mailbox := self._mailbox(local, domain)) in self.mailboxes:
            local = f"{wanted}{self.random.randrange(2, 1000)}"
        self.mailboxes.add(mailbox)
        return f"{local}@{domain}"

    def _mailbox(self, local: str, domain: str) -> str:
        return f"{local.replace('.', '') if domain == 'gmail.com' else local}@{domain}"

    def _add(self, account: Account) -> Account:
        if account.email is not None and "+" not in account.email:
            account.email = self._free(account.email)
        self.accounts.append(account)
        return account

    def _first_account(self, person: Person) -> Account:
        """By mail, by web form with a telephone number, or by WhatsApp."""
        way = self.random.random()
        company = person.company if self._chance(0.8) else None
        email = f"{person.handle}@{person.provider}"
        if company and self._chance(0.6):
            email = self._at_work(person, company)
        name = self._full(person)
        if way < 0.4:
            return self._add(Account(person, email, name, company=company))
        if way < 0.7:
            return self._add(Account(person, email, name, person.number, company, None, claimed=True))
        shown = self.random.choice((name, name, person.given, f"{person.given} ✨", None))
        return self._add(Account(person, None, shown, person.number, proven="number"))

    def _add_household(self) -> None:
        if self._chance(0.03):
            return self._add_family()
        person = self._person()
        if person.company and self._chance(0.01):
            return self._add_office(person.company)
        first = self._first_account(person)
        if self._chance(0.08):
            for _ in range(2 if self._chance(0.1) else 1):
                self._add_again(person, first)
        elif self._chance(0.02):
            # The number was somebody else's before.
            other = self._first_account(self._person())
            other.phone, other.claimed = person.number, False
            first.phone = person.number
        elif self._chance(0.004):
            self._meet(first, self._first_account(self._person()))
        return None

    def _add_family(self) -> None:
        """Two to five people on one telephone; now and then a father and a son of the same name."""
        head = self._person()
        known = {"family": head.family, "number": head.number}
        members = [head, *(self._person(**known) for _ in range(self.random.randrange(1, 5)))]
        if self._chance(0.01):
            members.append(self._person(given=head.given, **known))
        for member in members:
            account = self._first_account(member)
            if self._chance(0.8):
                account.phone = self._spelled(head.number)

    def _add_office(self, company: str) -> None:
        """Colleagues behind one switchboard, some of them on one mailbox."""
        switchboard, mailbox = self._number(), self.random.choice(("office", "info", "sales"))
        for _ in range(self.random.randrange(2, 12)):
            person = self._person(company=company)
            email = self._at_work(person, company)
            if self._chance(0.3):
                email = (
                    f"{mailbox}+{plain(person.given)}{self.random.randrange(100)}@{plain(company)}.example"
                )
            phone = switchboard if self._chance(0.8) else None
            self._add(Account(person, email, self._full(person), phone, company))

    def _add_again(self, person: Person, first: Account) -> None:
        """The same person once more, in one of the ways in which that happens."""
        ways: list[Callable[[Person, Account], Account]] = [
            self._mistyped,
            self._tagged,
            self._swapped,
            self._moved,
            self._second_address,
            self._other_channel,
            self._other_channel,
            self._at_both,
            self._in_conflict,
            self._stranger,
        ]
        self._add(self.random.choice(ways)(person, first))

    def _mistyped(self, person: Person, first: Account) -> Account:
        first.phone = first.phone or person.number
        provider = TYPED_WRONG.get(person.provider, f"mail.{person.provider}")
        email = f"{self._typo(person.handle) if self._chance(0.5) else person.handle}@{provider}"
        phone = self._spelled(person.number) if self._chance(0.7) else None
        return Account(person, email, self._typo(self._full(person)), phone, person.company, None)

    def _tagged(self, person: Person, first: Account) -> Account:
        if first.email is None:
            first.email, first.proven = self._free(f"{person.handle}@{person.provider}"), "email"
        local, _, domain = first.email.partition("@")
        if domain == "gmail.com" and self._chance(0.5):
            local = f"{local[:3]}.{local[3:]}".replace("..", ".")
        email = f"{local}+{self.random.choice(('crm', 'shop', 'news'))}{self.random.randrange(1000)}@{domain}"
        name = self.random.choice((self._full(person), person.given, None, self._typo(self._full(person))))
        return Account(person, email, name)

    def _swapped(self, person: Person, first: Account) -> Account:
        first.name = self._full(person)
        first.company = person.company
        comma = self.random.choice((", ", " "))
        name = f"{person.family}{comma}{person.given}"
        other = self.random.choice([provider for provider in PROVIDERS if provider != person.provider])
        return Account(person, f"{person.handle}@{other}", name, company=self._written(person.company))

    def _moved(self, person: Person, first: Account) -> Account:
        company = self._pick(self.companies)
        first.phone = first.phone or (person.number if self._chance(0.7) else None)
        phone = self._spelled(person.number)
        return Account(person, self._at_work(person, company), self._full(person), phone, company)

    def _second_address(self, person: Person, _: Account) -> Account:
        other = self.random.choice([provider for provider in PROVIDERS if provider != person.provider])
        return Account(
            person, f"{person.handle}@{other}", self._full(person), company=self._written(person.company)
        )

    def _other_channel(self, person: Person, first: Account) -> Account:
        first.phone = self._spelled(person.number)
        first.claimed = False
        if first.proven == "number":
            first.email, first.proven = self._free(f"{person.handle}@{person.provider}"), "email"
        full = self._full(person)
        shown = self.random.choice(
            (full, person.given, f"{person.given} {person.family[0]}.", f"🌸 {full}", None)
        )
        return Account(person, None, shown, person.number, proven="number")

    def _at_both(self, person: Person, first: Account) -> Account:
        company = person.company or self._pick(self.companies)
        first.company = first.company or company
        email = self._at_work(person, company)
        if email == first.email:
            email = f"{person.handle}@{person.provider}"
        return Account(person, email, self._full(person), company=self._written(company))

    def _in_conflict(self, person: Person, first: Account) -> Account:
        name = self.random.choice((self._full(person), person.given, self._typo(self._full(person))))
        again = Account(person, None, name, person.number, proven="number")
        self._meet(first, again)
        return again

    def _stranger(self, person: Person, _: Account) -> Account:
        """Nothing but the name in common: nobody could tell."""
        return Account(person, None, self._full(person), self._number(), proven="number")

    def _meet(self, one: Account, other: Account) -> None:
        self.events.append((one.id, other.id, self.random.choice(("conflict", "reassigned"))))

    def _typo(self, text: str) -> str:
        at = self.random.randrange(1, len(text) - 1)
        drop, swap, double = (
            text[:at] + text[at + 1 :],
            text[:at] + text[at + 1] + text[at],
            text[:at] + text[at],
        )
        return self.random.choice((drop, swap + text[at + 2 :], double + text[at:]))

    def _spelled(self, number: str) -> str:
        return self.random.choice((number, f"{number[:3]} {number[3:6]} {number[6:]}", f"{number[1:]}"))

    def _written(self, company: str | None) -> str | None:
        if company is None or self._chance(0.2):
            return None
        company += self.random.choice(LEGAL_FORMS)
        return company.upper() if self._chance(0.1) else company

    def same_people(self) -> set[frozenset[UUID]]:
        by_person: dict[int, list[UUID]] = {}
        for account in self.accounts:
            by_person.setdefault(id(account.person), []).append(account.id)
        return {frozenset(pair) for ids in by_person.values() for pair in combinations(ids, 2)}


def load(engine: Engine, world: World) -> None:
    """Write the world's accounts into empty tables."""
    people = [
        (a.id, a.email or f"{a.id}@placeholder.invalid", a.name, a.phone, a.company) for a in world.accounts
    ]
    known = {row[0] for row in people}
    events = [(*event, "system:identity") for event in world.events if known.issuperset(event[:2])]
    raw = engine.raw_connection()
    with closing(raw), raw.cursor() as cursor:
        for table, columns, rows in (
            ("customers", "id, email, name, phone, company", people),
            (
                "customer_identifiers",
                "customer_id, identifier_type, identifier_value, channel, verified",
                identifiers(world.accounts),
            ),
            ("identity_events", "customer_id, other_customer_id, event, actor", events),
        ):
            with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        raw.commit()
        cursor.execute("ANALYZE customers, customer_identifiers, identity_events")
        raw.commit()


def identifiers(accounts: Sequence[Account]) -> Iterator[tuple[UUID, str, str, str, bool]]:
    """Each value once, as the unique key wants it: for whoever proved it, else for who came first."""
    taken: set[str] = set()
    for account in sorted(accounts, key=lambda account: account.proven is None):
        wanted = []
        if account.email is not None:
            wanted.append(("email", account.email, account.proven == "email"))
        if account.phone is not None and (account.proven == "number" or account.claimed):
            kind = "whatsapp" if account.proven == "number" else "phone"
            wanted.append((kind, account.phone, account.proven == "number"))
        for kind, value, verified in wanted:
            if value not in taken:
                taken.add(value)
                channel = "whatsapp" if kind == "whatsapp" else "web_form" if kind == "phone" else "email"
                yield account.id, kind, value, channel, verified
