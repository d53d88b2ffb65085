"""Canonical forms of the ways to reach a person: two spellings of one address become one string.

Pure and idempotent: a value is returned in canonical form, or ``InvalidValue`` names the field and the rule.
The canonical form is for comparing and storing. Where a channel delivered another spelling (an Argentine
WhatsApp id with its 9), a reply goes to the spelling that the channel delivered.

Why addresses fold as they do:

* RFC 5321, 2.4 lets a server tell capitals in a mailbox's name apart and advises against it; nobody types
  them reliably. Folded. Dots and plus tags mean other mailboxes at some providers: never folded here.
* Dots where RFC 5321, 4.1.2 has none (``a..b``, ``ann.``) are in real mailboxes of Japanese mobile providers:
  part of the name, and the same with the quotes that the RFC asks for.
* Compatibility forms (Unicode Standard Annex 15, NFKC) are one letter to the eye and several to the machine.
  Folded; letters that only look alike in another script are not.
* A domain is its A-label (RFC 5891, with the mapping of UTS 46): what the name servers compare.
* ``.invalid`` (RFC 2606) can belong to nobody, hence the placeholder's domain.

Why numbers fold as they do:

* ITU-T E.164 is the form; a number has to be *possible*, not *valid*: providers deliver real senders whose
  numbers no numbering plan lists, and plans change faster than the metadata of ``phonenumbers``.
* Brazil (+55): ANATEL, Resolução 553/2010, put a 9 before every mobile number, finished in November 2016.
  WhatsApp ids of older accounts still lack it. Folded to the form *with* the 9, only for an area code
  followed by eight digits that begin with 6, 8 or 9. Landlines (2-5) and trunked radio (7) never got one.
* Mexico (+52): the 1 of calls to mobiles, with 01, 044 and 045 inside the country, was abolished by IFT, Plan
  Técnico Fundamental de Numeración, from 3 August 2019. WhatsApp ids keep the 1. Folded to ten digits.
* Argentina (+54): ENACOM's plan gives mobiles and landlines ten digits out of the same areas; 15 inside and 9
  from abroad only say that the line is mobile. Folded to the ten digits, so that no landline is changed.
  WhatsApp on these spellings: https://faq.whatsapp.com/640432094208718
* Ivory Coast (+225): ARTCI put two digits for the operator before every number on 31 January 2021. An older
  mobile number's second digit says whose it was: 0-3 Moov (01), 4-6 MTN (05), 7-9 Orange (07). Folded to ten
  digits, as WhatsApp ids of older accounts have eight. A landline (2, 3) does not say; it stays as it is.
* Benin (+229): ARCEP put 01 before every number on 30 November 2024. Folded to ten digits.
"""

from __future__ import annotations

from .emails import (
    PLACEHOLDER_DOMAIN,
    PLACEHOLDERS,
    is_placeholder,
    is_plain_email,
    normalize_email,
    placeholder_email,
)
from .identifiers import (
    delivered_form,
    identity_key,
    is_blocked,
    normalize_identifier,
    normalize_stored,
    search_key,
)
from .numbers import normalize_phone, normalize_whatsapp
from .texts import MAX_LENGTH, normalize_name, without_addresses, without_names

__all__ = [
    "MAX_LENGTH",
    "PLACEHOLDERS",
    "PLACEHOLDER_DOMAIN",
    "delivered_form",
    "identity_key",
    "is_blocked",
    "is_placeholder",
    "is_plain_email",
    "normalize_email",
    "normalize_identifier",
    "normalize_name",
    "normalize_phone",
    "normalize_stored",
    "normalize_whatsapp",
    "placeholder_email",
    "search_key",
    "without_addresses",
    "without_names",
]
