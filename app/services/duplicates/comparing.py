"""How likely two customers are one person: the model, without any database.

The weights are those of Fellegi and Sunter, "A Theory for Record Linkage" (Journal of the American
Statistical Association 64, 1969): an outcome that has the probability ``m`` among pairs that are one person,
and ``u`` among pairs that are two, weighs log2(m / u) bits. The weights of independent comparisons add up,
and with the prior, the odds of any two customers, the sum is the logarithm of the odds: 0 is as likely as
not, 3 is 8 to 1.

``u`` is adapted to the value, as in Winkler, "Frequency-Based Matching in Fellegi-Sunter Model of Record
Linkage" (US Census Bureau, 2000): where ``h`` of ``N`` customers hold a value, another one holds it by chance
with a probability of (h - 1) / N. For a name, which two people seldom share in full, it is the product of its
words' own frequencies, unless more people than that have it. So a rare name says much, and a common one, a
family's telephone or an office's mailbox little. A domain or a company of more than one customer in a hundred
says nothing for a pair, and a word of a name counts as no more common than that: nobody counts any further.

Comparisons are not independent in three places, and there the model departs from the sum. Number, mailbox,
domain and company all tell of the same household or office: only the best of them counts in full. A local
part that spells the name says little more than the name. An event that tells of a claim says nothing more
where both have the claimed address.

The probabilities are judged, not learned: ``benchmarks/duplicates.py`` shows what they are worth.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import product

from rapidfuzz import fuzz
from rapidfuzz.distance import OSA, JaroWinkler

from ...schemas import Evidence, Signal
from .blocking import UNSEEN, Pair

_DUPLICATES = 0.1
"""How many duplicates an average customer has."""

_NAMESAKES = 4
"""How much more often words go together in a name than chance would have it: Mario is rarely called Jones."""

_FEWEST_NAMESAKES = 0.02

_UNSEEN_DOMAINS = 100
"""Added to the customers when it is about domains: a few providers have most people, in a small base too."""

_SIMILAR_COMPANY = 0.93

# What NFKD leaves as it is.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th"})


def compare(pair: Pair) -> list[Evidence]:
    """What speaks for one person and what against: the prior, then the strongest first."""
    base = pair.customers + UNSEEN
    prior = _evidence(Signal.PRIOR, _DUPLICATES / base, f"any two of {pair.customers:,} customers")
    evidence = [*_places(pair, base), *_local_parts(pair, base), *_names(pair, base), *_events(pair, base)]
    return [prior, *sorted(evidence, key=lambda piece: -abs(piece.weight_bits))]


def _evidence(signal: Signal, odds: float, detail: str) -> Evidence:
    return Evidence(signal=signal, weight_bits=round(math.log2(odds) * 4) / 4, detail=detail)


def _odds(holders: int, base: int, *, m: float, by_chance: float = 1) -> float:
    """m / u of a value that both have. ``by_chance``: the part of its other holders who are other people."""
    return m / min(by_chance * max(holders - 1, 1) / base, m)


def _shared(signal: Signal, what: str, holders: int, odds: float) -> Evidence:
    return _evidence(signal, odds, f"{what}, which {holders:,} customers have")


def _places(pair: Pair, base: int) -> Iterator[Evidence]:
    """Where both can be reached or work. In one household or office all of it agrees: the best counts."""
    places = sorted(_same_places(pair, base), key=lambda evidence: -evidence.weight_bits)
    yield from places[:1]
    for evidence in places[1:]:
        yield evidence.model_copy(update={"weight_bits": min(evidence.weight_bits, 1.0)})
    yield from _other_places(pair, base)


def _same_places(pair: Pair, base: int) -> Iterator[Evidence]:
    if holders := pair.number:
        yield _shared(Signal.NUMBER, "the same number", holders, _odds(holders, base, m=0.35, by_chance=0.05))
    if holders := pair.mailbox:
        odds = _odds(holders, base, m=0.1, by_chance=0.0005)
        yield _shared(Signal.MAILBOX, "the same mailbox", holders, odds)
    holders = _holders_of_shared_domain(pair)
    if holders is not None and holders <= pair.most:
        odds = _odds(holders, pair.customers + _UNSEEN_DOMAINS, m=0.5)
        yield _shared(Signal.DOMAIN, "the same domain", holders, odds)
    likeness = _likeness_of_companies(pair)
    if pair.company_holders > pair.most:
        return
    if likeness == 1:
        odds = _odds(pair.company_holders, base, m=0.5)
        yield _shared(Signal.COMPANY, "the same company", pair.company_holders, odds)
    elif likeness is not None and likeness >= _SIMILAR_COMPANY:
        odds = _odds(pair.company_holders, base, m=0.1, by_chance=4)
        yield _shared(Signal.COMPANY, "a similar company", pair.company_holders, odds)


def _other_places(pair: Pair, base: int) -> Iterator[Evidence]:
    likeness = _likeness_of_companies(pair)
    if likeness is not None and likeness < _SIMILAR_COMPANY:
        yield _evidence(Signal.COMPANY, 0.5, "different companies")
    if pair.number is None and pair.a_proven_number and pair.b_proven_number:
        yield _evidence(Signal.PROOFS, 0.5, "each has proved another number")
    if pair.mailbox is None and pair.a_proven_mailbox and pair.b_proven_mailbox:
        holders = _holders_of_shared_domain(pair)
        if holders is not None and holders < base / 100:
            yield _evidence(Signal.PROOFS, 0.1, "each has proved another mailbox of a small domain")
        else:
            yield _evidence(Signal.PROOFS, 0.5, "each has proved another mailbox")


def _likeness_of_companies(pair: Pair) -> float | None:
    if not pair.a_company or not pair.b_company:
        return None
    return JaroWinkler.similarity(pair.a_company, pair.b_company)


def _holders_of_shared_domain(pair: Pair) -> int | None:
    """How many customers have an address in the rarest domain that both have one in."""
    if not pair.a_mailboxes or not pair.b_mailboxes:
        return None
    theirs = {mailbox.rpartition("@")[2] for mailbox in pair.b_mailboxes}
    ours = zip(pair.a_mailboxes, pair.a_domain_holders, strict=True)
    return min((holders for mailbox, holders in ours if mailbox.rpartition("@")[2] in theirs), default=None)


def _local_parts(pair: Pair, base: int) -> Iterator[Evidence]:
    """What stands before the @, where the mailboxes are not the same."""
    if pair.mailbox is not None or not pair.a_mailboxes or not pair.b_mailboxes:
        return
    words = {*_words(pair.a_name), *_words(pair.b_name)}
    ours, theirs = set(map(_local_part, pair.a_mailboxes)), set(map(_local_part, pair.b_mailboxes))
    if pair.local_part is not None:
        yield _same_local_part(pair, pair.local_part, ours & theirs, words, base)
    elif words and any(JaroWinkler.similarity(one, other) >= 0.9 for one in ours for other in theirs):
        yield _evidence(Signal.LOCAL_PART, 2, "similar local parts")


def _same_local_part(
    pair: Pair, holders: int, shared: Collection[str], words: Collection[str], base: int
) -> Evidence:
    """Of two mailboxes of different domains: the odder what they share, the more it says."""
    if _has_mistyped_domain(pair):
        return _evidence(Signal.LOCAL_PART, 512, "the same mailbox but for one letter of the domain")
    if not any(_spells(local, words) for local in shared):
        odds = _odds(holders, base, m=0.2)
        return _shared(Signal.LOCAL_PART, "the same unusual local part", holders, odds)
    if any(character.isdigit() for local in shared for character in local):
        return _evidence(Signal.LOCAL_PART, 32, "the same name and figures before the @")
    return _evidence(Signal.LOCAL_PART, 3, "the same name before the @")


def _has_mistyped_domain(pair: Pair) -> bool:
    """Whether a rare domain is a common one but for a letter, with the same mailbox in both."""
    ours = list(zip(pair.a_mailboxes, pair.a_domain_holders, strict=True))
    theirs = list(zip(pair.b_mailboxes, pair.b_domain_holders, strict=True))
    for (one, one_holders), (other, other_holders) in product(ours, theirs):
        (box, _, domain), (other_box, _, other_domain) = one.rpartition("@"), other.rpartition("@")
        few, many = sorted((one_holders, other_holders))
        if box == other_box and many >= 10 * few and OSA.distance(domain, other_domain, score_cutoff=1) == 1:
            return True
    return False


def _names(pair: Pair, base: int) -> Iterator[Evidence]:
    few, many = sorted((_words(pair.a_name), _words(pair.b_name)), key=len)
    if not few:
        return
    namesakes = max(_NAMESAKES * pair.name_chance * base, pair.name_holders - 2, _FEWEST_NAMESAKES)

    def alike(m: float, people: float, what: str) -> Evidence:
        return _evidence(Signal.NAME, m / min(people / base, m), what)

    if few == many:
        yield alike(0.6, namesakes, "the same name")
    elif sorted(few) == sorted(many):
        yield alike(0.3, namesakes, "the same name in another order")
    elif len(few) == 1 and few[0] in many:
        yield alike(0.2, max(namesakes / _NAMESAKES, _FEWEST_NAMESAKES), "one word of the name")
    elif (matched := _matched(few, many)) == len(few) or "".join(few) == "".join(many):
        yield alike(0.15, 30 * namesakes, "a similar name")
    elif matched:
        yield _evidence(Signal.NAME, 0.05, "only a part of the name")
    else:
        yield _evidence(Signal.NAME, 0.015, "different names")


def _events(pair: Pair, base: int) -> Iterator[Evidence]:
    """What happened between the two; it says little of those to whom it happens with many."""
    if pair.conflict is not None:
        odds = _odds(pair.conflict, base, m=0.05, by_chance=0.02)
        yield _evidence(Signal.CONFLICT, odds, "addresses of both in one message")
    if pair.reassigned is not None and pair.number is None and pair.mailbox is None:
        odds = _odds(pair.reassigned, base, m=0.05, by_chance=0.02)
        yield _evidence(Signal.REASSIGNED, odds, "one proved what the other had claimed")
    if pair.unmerged is not None:
        yield _evidence(Signal.UNMERGED, 2**-20, "a merge of the two was undone")


@lru_cache(maxsize=100_000)
def _words(name: str | None) -> tuple[str, ...]:
    """The words of a name, without accents, case, signs and emoji."""
    letters = unicodedata.normalize("NFKD", name or "").casefold().translate(_LETTERS)
    bare = (letter for letter in letters if not unicodedata.combining(letter))
    return tuple("".join(letter if letter.isalpha() else " " for letter in bare).split())


def _matched(few: Sequence[str], many: Sequence[str]) -> int:
    """How many words of the one name the other has too, mistyped or abbreviated."""
    left = list(many)
    for word in few:
        twin = next((other for other in left if _same_word(word, other)), None)
        if twin is not None:
            left.remove(twin)
    return len(many) - len(left)


def _same_word(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == 1:
        return longer.startswith(shorter)
    if one == other or len(shorter) == 2:
        return one == other
    # Another ending is another name: Daniel and Daniela, Mario and Maria.
    stem = len(longer) - 1
    return one[:stem] != other[:stem] and OSA.distance(one, other, score_cutoff=1) == 1


def _local_part(mailbox: str) -> str:
    return "".join(filter(str.isalnum, mailbox.rpartition("@")[0]))


def _spells(local_part: str, words: Collection[str]) -> bool:
    """Whether a local part is made of the name, or may be: in another script nobody can tell."""
    letters = "".join(filter(str.isalpha, local_part))
    latin = [word for word in words if len(word) > 2 and word.isascii()]
    return not latin or any(fuzz.partial_ratio(word, letters) >= 75 for word in latin)
