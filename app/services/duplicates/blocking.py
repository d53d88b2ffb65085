"""Which customers are worth comparing: one statement over the whole base, whose cost grows with its answer.

Two customers are compared if they have one of a few keys in common: a number, a mailbox, a local part, a full
name, a name or its beginning at one employer; or if an event tells of both. A key that very many hold singles
out nobody and is left out, so that the pairs cannot grow with the square of the base.

Letter case of other scripts than the Latin one is folded only as far as the database's locale knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from ...normalization import PLACEHOLDERS

MOST_HOLDERS = 50
"""Of a key by which pairs are found."""

UNSEEN = 10_000
"""Added to the number of customers: in a small base nobody knows how common a name is."""


class Pair(NamedTuple):
    """Two customers and what to compare. What they share comes as the number of customers who hold it."""

    a_id: UUID
    b_id: UUID
    b_is_older: bool
    customers: int
    number: int | None
    mailbox: int | None
    local_part: int | None
    conflict: int | None
    reassigned: int | None
    unmerged: int | None
    a_name: str | None
    b_name: str | None
    name_chance: float
    """The probability that somebody else is called so too: that of the words, whichever is more common."""
    name_holders: int
    a_company: str | None
    b_company: str | None
    company_holders: int
    a_mailboxes: Sequence[str]
    b_mailboxes: Sequence[str]
    a_domain_holders: Sequence[int]
    """How many customers have an address in the domain of each mailbox."""
    b_domain_holders: Sequence[int]
    a_proven_mailbox: bool
    b_proven_mailbox: bool
    a_proven_number: bool
    b_proven_number: bool


# Case, accents and emoji folded away.
_PLAIN = (
    "lower(regexp_replace(normalize({}, NFKD), "
    "'[\\u0300-\\u036f\\u200d\\u2190-\\u2bff\\ufe0f\\U0001f000-\\U0001faff]', '', 'g'))"
)
_LEGAL_FORM = (
    "([[:space:],]+(ag|bv|co|corp|gmbh|inc|limited|llc|llp|ltd|ltda|plc|pvt|s\\.?a|s\\.?l|s\\.?r\\.?l)\\.?)+$"
)

# Of a name eight words at most make keys: anybody can type one of a hundred words into a form.
# Joined by hash only: the planner knows nothing about the size of a CTE, and a sort or a cursor would make it
# prefer nested loops, which are quadratic here.
_SQL = """
WITH named AS (
    SELECT id, COALESCE(created_at, '-infinity') AS created_at, name,
        NULLIF(regexp_replace(regexp_replace({company}, '{legal_form}', ''),
            '[[:space:][:punct:]]+', '', 'g'), '') AS company,
        ARRAY(
            SELECT word FROM regexp_split_to_table({name}, '[[:space:][:punct:]]+') AS word
            WHERE word <> '' ORDER BY word
        ) AS words
    FROM customers
), people AS MATERIALIZED (
    SELECT *,
        count(*) OVER () AS customers,
        count(*) OVER (PARTITION BY words) AS name_holders,
        count(*) OVER (PARTITION BY company) AS company_holders
    FROM named
), words AS (
    SELECT word, count(DISTINCT id) AS holders FROM people, unnest(words) AS word GROUP BY word
), chances AS MATERIALIZED (
    SELECT id, exp(greatest(sum(ln(holders / (customers + :unseen)::float)), -100)) AS chance
    FROM people, unnest(people.words) AS spoken JOIN words ON word = spoken GROUP BY id
), held AS (
    SELECT customer_id, identifier_type <> 'email' AS is_number, lower(identifier_value) AS value, verified
    FROM customer_identifiers
    WHERE identifier_type = 'email' OR identifier_value !~ '[A-Za-z]'
    UNION ALL
    SELECT id, true, phone, false FROM customers WHERE phone IS NOT NULL
    UNION ALL
    SELECT id, false, lower(email), false FROM customers WHERE email NOT LIKE '{placeholders}'
), split AS (
    SELECT *, substring(value FROM '[^@]*$') AS domain,
        regexp_replace(regexp_replace(value, '@[^@]*$', ''), '(?<=.)\\+.*$', '') AS box
    FROM held
), addresses AS MATERIALIZED (
    SELECT customer_id, is_number, address, CASE WHEN NOT is_number THEN domain END AS domain,
        COALESCE(bool_or(verified), false) AS proven
    FROM split CROSS JOIN LATERAL (
        SELECT CASE
            WHEN is_number THEN regexp_replace(value, '[^0-9]', '', 'g')
            WHEN domain IN ('gmail.com', 'googlemail.com') THEN replace(box, '.', '') || '@gmail.com'
            ELSE box || '@' || domain
        END AS address
    ) AS canonical
    GROUP BY 1, 2, 3, 4
), domains AS (
    SELECT domain, count(DISTINCT customer_id) AS holders FROM addresses WHERE NOT is_number GROUP BY domain
), reach AS MATERIALIZED (
    SELECT customer_id,
        array_agg(address) FILTER (WHERE NOT is_number) AS mailboxes,
        array_agg(holders) FILTER (WHERE NOT is_number) AS domain_holders,
        bool_or(proven AND NOT is_number) AS proven_mailbox,
        bool_or(proven AND is_number) AS proven_number
    FROM addresses LEFT JOIN domains USING (domain)
    GROUP BY customer_id
), employers AS (
    SELECT id, company AS employer FROM people WHERE company IS NOT NULL
    UNION
    SELECT customer_id, domain FROM addresses JOIN domains USING (domain) WHERE holders <= 10 * :most
), keys AS (
    SELECT customer_id, 'number' AS kind, address AS key FROM addresses
    WHERE is_number AND length(address) > 6 AND address !~ '^(.)\\1*$'
    UNION
    SELECT customer_id, 'mailbox', address FROM addresses WHERE NOT is_number
    UNION
    SELECT customer_id, 'local part', local
    FROM addresses, regexp_replace(address, '@.*$|[._-]', '', 'g') AS local
    WHERE NOT is_number AND length(local) > 3
    UNION
    SELECT id, 'name', words::text FROM people WHERE cardinality(words) > 1
    UNION
    SELECT id, 'name', words::text || employer FROM people JOIN employers USING (id)
    WHERE cardinality(words) > 1
    UNION
    SELECT id, 'word', concat_ws(' ', left(word, 4), left(beside, 1), employer)
    FROM people JOIN employers USING (id), unnest(words[1\\:8]) AS word, unnest(words[1\\:8]) AS beside
    WHERE word <> beside AND length(word) > 1
), blocks AS (
    SELECT kind, array_agg(customer_id) AS members, count(*) AS holders
    FROM keys GROUP BY kind, key HAVING count(*) BETWEEN 2 AND :most
), told AS (
    SELECT event, COALESCE(one.customer_id, events.customer_id) AS one_id,
        COALESCE(other.customer_id, events.other_customer_id) AS other_id
    FROM identity_events AS events
    LEFT JOIN customer_redirects AS one ON one.absorbed_id = events.customer_id
    LEFT JOIN customer_redirects AS other ON other.absorbed_id = events.other_customer_id
    WHERE other_customer_id IS NOT NULL AND event IN ('conflict', 'reassigned', 'unmerged', 'not_duplicate')
), met AS (
    SELECT event, one_id, other_id, 1 + count(*) OVER (PARTITION BY event, one_id) AS holders
    FROM (SELECT * FROM told UNION SELECT event, other_id, one_id FROM told) AS both_ways
), pairs AS (
    SELECT one_id, other_id,
        min(holders) FILTER (WHERE kind = 'number') AS number,
        min(holders) FILTER (WHERE kind = 'mailbox') AS mailbox,
        min(holders) FILTER (WHERE kind = 'local part') AS local_part,
        max(holders) FILTER (WHERE kind = 'conflict') AS conflict,
        max(holders) FILTER (WHERE kind = 'reassigned') AS reassigned,
        max(holders) FILTER (WHERE kind = 'unmerged') AS unmerged
    FROM (
        SELECT kind, holders, one_id, other_id
        FROM blocks, unnest(members) AS one_id, unnest(members) AS other_id
        WHERE CAST(:only AS uuid) IS NULL OR CAST(:only AS uuid) = ANY (members)
        UNION ALL
        SELECT event, holders, least(one_id, other_id), greatest(one_id, other_id) FROM met
    ) AS common
    WHERE one_id < other_id AND (CAST(:only AS uuid) IS NULL OR CAST(:only AS uuid) IN (one_id, other_id))
    GROUP BY one_id, other_id
    HAVING bool_and(kind <> 'not_duplicate')
)
SELECT a.id, b.id, (b.created_at, b.id) < (a.created_at, a.id), a.customers,
    number, mailbox, local_part, conflict, reassigned, unmerged,
    a.name, b.name, COALESCE(greatest(a_chance.chance, b_chance.chance), 1),
    greatest(a.name_holders, b.name_holders),
    a.company, b.company, greatest(a.company_holders, b.company_holders),
    COALESCE(a_reach.mailboxes, '{{}}'), COALESCE(b_reach.mailboxes, '{{}}'),
    COALESCE(a_reach.domain_holders, '{{}}'), COALESCE(b_reach.domain_holders, '{{}}'),
    COALESCE(a_reach.proven_mailbox, false), COALESCE(b_reach.proven_mailbox, false),
    COALESCE(a_reach.proven_number, false), COALESCE(b_reach.proven_number, false)
FROM pairs
JOIN people AS a ON a.id = one_id
JOIN people AS b ON b.id = other_id
LEFT JOIN chances AS a_chance ON a_chance.id = one_id
LEFT JOIN chances AS b_chance ON b_chance.id = other_id
LEFT JOIN reach AS a_reach ON a_reach.customer_id = one_id
LEFT JOIN reach AS b_reach ON b_reach.customer_id = other_id
"""
PAIRS = text(
    _SQL.format(
        name=_PLAIN.format("name"),
        company=_PLAIN.format("company"),
        legal_form=_LEGAL_FORM,
        placeholders=PLACEHOLDERS,
    )
)


def pairs(session: Session, customer_id: UUID | None) -> Iterator[Pair]:
    """Pairs of living customers that nobody has declared to be two people; one statement."""
    rows = session.execute(PAIRS, {"only": customer_id, "most": MOST_HOLDERS, "unseen": UNSEEN})
    yield from map(Pair._make, rows)
