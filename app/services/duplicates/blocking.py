"""Which customers are worth comparing: of the whole base, or of one customer without reading the base.

Two customers are compared if they have one of a few keys in common: a number, a mailbox, a local part, a full
name, a name or its beginning at one employer; or if an event tells of both. A key that very many hold singles
out nobody and is left out, so that the pairs cannot grow with the square of the base.

Both statements are made of the same parts: the one groups the keys of all, the other looks a customer's
own up in indexes, and counts what else the pairs have there. It counts up to a fixed number; of what more
have it takes what ANALYZE last saw for the count. They find the same pairs, but where a base of more than
40,000 has changed so much since that ANALYZE that a key of very many is now one of few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

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
    """How many there are; in a large base, as estimated."""
    most: int
    """Counts of what is compared, other than those of numbers and mailboxes, stop at one more."""
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


# Keys, and what is plain, the database's functions define: its indexes hold the keys.
_READ = """
people AS MATERIALIZED (
    SELECT id, COALESCE(created_at, '-infinity') AS created_at, name, email, phone,
        plain_company(company) AS company, name_words(name) AS words
    FROM customers {of_near_customers}
), addresses AS MATERIALIZED (
    SELECT customer_id, address, COALESCE(bool_or(verified), false) AS proven
    FROM (
        SELECT customer_id, plain_address(identifier_type, identifier_value) AS address, verified
        FROM customer_identifiers {of_near_identifiers}
        UNION ALL
        SELECT id, plain_address('email', email), false FROM people
        UNION ALL
        SELECT id, plain_address('phone', phone), false FROM people
    ) AS held
    WHERE address IS NOT NULL GROUP BY 1, 2
), keys AS MATERIALIZED (
    SELECT id AS customer_id, key, split_part(key, ' ', 1) AS kind
    FROM people, unnest(person_keys(words, company)) AS key
    UNION
    SELECT customer_id, key, split_part(key, ' ', 1) FROM addresses, unnest(address_keys(address)) AS key
)"""

# Of a name eight words at most make keys: anybody can type one of a hundred words into a form.
# Joined by hash only: the planner knows nothing about the size of a CTE, and a sort or a cursor would make it
# prefer nested loops, which are quadratic here.
_PAIR = """
employers AS (
    SELECT customer_id, key AS employer FROM keys JOIN holders USING (key)
    WHERE holders <= 10 * :most AND kind IN ('company', 'domain')
), blocking AS (
    SELECT customer_id, kind, key FROM keys JOIN holders USING (key)
    WHERE holders <= :most AND kind IN ('number', 'mailbox', 'local', 'name')
    UNION ALL
    SELECT id, 'name', concat_ws(' ', CAST(words AS text), employer)
    FROM people JOIN employers ON customer_id = id WHERE cardinality(words) > 1
    UNION
    SELECT id, 'word', concat_ws(' ', left(word, 4), left(beside, 1), employer)
    FROM people JOIN employers ON customer_id = id,
        unnest(words[1\\:8]) AS word, unnest(words[1\\:8]) AS beside
    WHERE word <> beside AND length(word) > 1
), blocks AS (
    SELECT kind, array_agg(customer_id) AS members, count(*) AS holders
    FROM blocking GROUP BY kind, key HAVING count(*) BETWEEN 2 AND :most
), told AS (
    SELECT event, COALESCE(one.customer_id, events.customer_id) AS one_id,
        COALESCE(other.customer_id, events.other_customer_id) AS other_id
    FROM identity_events AS events
    LEFT JOIN customer_redirects AS one ON one.absorbed_id = events.customer_id
    LEFT JOIN customer_redirects AS other ON other.absorbed_id = events.other_customer_id
    WHERE other_customer_id IS NOT NULL AND event IN ('conflict', 'reassigned', 'unmerged', 'not_duplicate')
        {of_named_events}
), met AS (
    SELECT event, one_id, other_id, 1 + count(*) OVER (PARTITION BY event, one_id) AS holders
    FROM (SELECT * FROM told UNION SELECT event, other_id, one_id FROM told) AS both_ways
), pairs AS (
    SELECT one_id, other_id,
        min(holders) FILTER (WHERE kind = 'number') AS number,
        min(holders) FILTER (WHERE kind = 'mailbox') AS mailbox,
        min(holders) FILTER (WHERE kind = 'local') AS local_part,
        max(holders) FILTER (WHERE kind = 'conflict') AS conflict,
        max(holders) FILTER (WHERE kind = 'reassigned') AS reassigned,
        max(holders) FILTER (WHERE kind = 'unmerged') AS unmerged
    FROM (
        SELECT kind, holders, one_id, other_id
        FROM blocks, unnest(members) AS one_id, unnest(members) AS other_id {of_own_blocks}
        UNION ALL
        SELECT event, holders, least(one_id, other_id), greatest(one_id, other_id) FROM met
    ) AS common
    WHERE one_id < other_id {of_own_pairs}
    GROUP BY one_id, other_id
    HAVING bool_and(kind <> 'not_duplicate')
)"""

_TELL = """
chances AS MATERIALIZED (
    SELECT id,
        exp(greatest(sum(ln(CAST(holders AS float) / (customers + :unseen)) ORDER BY word), -100)) AS chance
    FROM base, people, unnest(words) AS word JOIN counted ON key = 'word ' || word
    GROUP BY id
), commonness AS MATERIALIZED (
    SELECT customer_id, max(holders) FILTER (WHERE kind <> 'company') AS name_holders,
        max(holders) FILTER (WHERE kind = 'company') AS company_holders
    FROM keys JOIN counted USING (key) WHERE kind IN ('name', 'single', 'company')
    GROUP BY customer_id
), reach AS MATERIALIZED (
    SELECT customer_id,
        array_agg(address ORDER BY address) FILTER (WHERE holders IS NOT NULL) AS mailboxes,
        array_agg(holders ORDER BY address) FILTER (WHERE holders IS NOT NULL) AS domain_holders,
        bool_or(proven AND address ~ '@') AS proven_mailbox,
        bool_or(proven AND address !~ '@') AS proven_number
    FROM addresses, unnest(ARRAY[''] || address_keys(address)) AS part LEFT JOIN counted ON key = part
    WHERE part = '' OR part LIKE 'domain %'
    GROUP BY customer_id
)
SELECT a.id, b.id, (b.created_at, b.id) < (a.created_at, a.id), customers, most,
    number, mailbox, local_part, conflict, reassigned, unmerged,
    a.name, b.name, COALESCE(greatest(a_chance.chance, b_chance.chance), 1),
    COALESCE(greatest(a_common.name_holders, b_common.name_holders), 0),
    a.company, b.company, COALESCE(greatest(a_common.company_holders, b_common.company_holders), 0),
    COALESCE(a_reach.mailboxes, '{{}}'), COALESCE(b_reach.mailboxes, '{{}}'),
    COALESCE(a_reach.domain_holders, '{{}}'), COALESCE(b_reach.domain_holders, '{{}}'),
    COALESCE(a_reach.proven_mailbox, false), COALESCE(b_reach.proven_mailbox, false),
    COALESCE(a_reach.proven_number, false), COALESCE(b_reach.proven_number, false)
FROM base CROSS JOIN pairs
JOIN people AS a ON a.id = one_id
JOIN people AS b ON b.id = other_id
LEFT JOIN chances AS a_chance ON a_chance.id = one_id
LEFT JOIN chances AS b_chance ON b_chance.id = other_id
LEFT JOIN commonness AS a_common ON a_common.customer_id = one_id
LEFT JOIN commonness AS b_common ON b_common.customer_id = other_id
LEFT JOIN reach AS a_reach ON a_reach.customer_id = one_id
LEFT JOIN reach AS b_reach ON b_reach.customer_id = other_id
"""

# Counts stop at one customer in a hundred.
_BASE = """
base AS MATERIALIZED (
    SELECT customers, CAST(greatest(10 * :most, (customers + :unseen) / 100) AS integer) AS most
    FROM count_customers() AS customers
)"""

_COUNT_ALL = """
holders AS MATERIALIZED (
    SELECT key, least(count(*), (SELECT most + 1 FROM base)) AS holders FROM keys GROUP BY key
)"""

# How many have what more than that have, as ANALYZE last saw it: to count them would be to read the base.
_BEYOND = """
        CASE WHEN most > 10 * :most
            THEN least(greatest(likely_key_holders(key), 10 * :most + 1), most + 1)
            ELSE most + 1 END"""

# Whoever shares a key or the employer with one customer, or an event.
_NEAR = """
own AS MATERIALIZED (
    SELECT key
    FROM customers, unnest(person_keys(name_words(name), plain_company(company))
        || address_keys(plain_address('email', email)) || address_keys(plain_address('phone', phone))) AS key
    WHERE id = :only
    UNION
    SELECT key
    FROM customer_identifiers, unnest(address_keys(plain_address(identifier_type, identifier_value))) AS key
    WHERE customer_id = :only
), held AS MATERIALIZED (
    SELECT key, holder FROM own LEFT JOIN LATERAL key_holders(key, 10 * :most) AS holder ON true
), holders AS MATERIALIZED (
    SELECT key, COALESCE(NULLIF(count(holder), 0), {beyond}) AS holders FROM base, held GROUP BY key, most
), names AS MATERIALIZED (
    SELECT CAST(:only AS uuid) AS name
    UNION ALL
    SELECT absorbed_id FROM customer_redirects WHERE customer_id = :only
), others AS MATERIALIZED (
    SELECT COALESCE(redirects.customer_id, other) AS id
    FROM (
        SELECT other_customer_id AS other FROM identity_events
        WHERE customer_id = ANY (ARRAY(SELECT name FROM names)) AND other_customer_id IS NOT NULL
        UNION
        SELECT customer_id FROM identity_events
        WHERE other_customer_id = ANY (ARRAY(SELECT name FROM names))
    ) AS events
    LEFT JOIN customer_redirects AS redirects ON absorbed_id = other
), named AS MATERIALIZED (
    SELECT id FROM others
    UNION
    SELECT absorbed_id FROM customer_redirects WHERE customer_id = ANY (ARRAY(SELECT id FROM others))
), near AS MATERIALIZED (
    SELECT CAST(:only AS uuid) AS id
    UNION
    SELECT id FROM others
    UNION
    SELECT holder FROM held JOIN holders USING (key)
    WHERE holders <= :most AND key ~ '^(number|mailbox|local|name) '
        OR holders <= 10 * :most AND key ~ '^(company|domain) '
)"""

# Besides what the customer has itself: what says how common is what the pairs have.
_COUNT_PAIRS = """
counted AS MATERIALIZED (
    SELECT key, holders FROM holders
    UNION ALL
    SELECT key, COALESCE(NULLIF((SELECT count(*) FROM key_holders(key, 10 * :most)), 0), {beyond})
    FROM base, (
        SELECT DISTINCT key
        FROM keys JOIN (SELECT one_id AS id FROM pairs UNION SELECT other_id FROM pairs) AS paired
            ON id = customer_id
        WHERE kind IN ('word', 'single', 'name', 'company', 'domain')
        EXCEPT
        SELECT key FROM holders
    ) AS theirs
)"""

_OF_ALL = (_BASE, _READ, _COUNT_ALL, _PAIR, "counted AS (SELECT * FROM holders)", _TELL)
_OF_ONE = (_BASE, _NEAR, _READ, _PAIR, _COUNT_PAIRS, _TELL)

PAIRS = text(
    f"WITH {','.join(_OF_ALL)}".format(
        of_near_customers="", of_near_identifiers="", of_named_events="", of_own_blocks="", of_own_pairs=""
    )
)
PAIRS_OF_ONE = text(
    f"WITH {','.join(_OF_ONE)}".format(
        of_near_customers="WHERE id = ANY (ARRAY(SELECT id FROM near))",
        of_near_identifiers="WHERE customer_id = ANY (ARRAY(SELECT id FROM near))",
        beyond=_BEYOND,
        of_named_events="""AND (events.customer_id = ANY (ARRAY(SELECT id FROM named))
            OR events.other_customer_id = ANY (ARRAY(SELECT id FROM named)))""",
        of_own_blocks="WHERE CAST(:only AS uuid) = ANY (members)",
        of_own_pairs="AND CAST(:only AS uuid) IN (one_id, other_id)",
    )
)
"""The same for one customer: of the base it reads whom that is compared with, and counts."""


def pairs(session: Session, customer_id: UUID | None) -> Iterator[Pair]:
    """Pairs of living customers that nobody has declared to be two people; one statement."""
    parameters = {"most": MOST_HOLDERS, "unseen": UNSEEN}
    if customer_id is None:
        rows = session.execute(PAIRS, parameters)
    else:
        rows = session.execute(PAIRS_OF_ONE, parameters | {"only": customer_id})
    yield from map(Pair._make, rows)
