"""Replies as mail programs write them, in eight languages: the writer's words stay, ours go."""

from __future__ import annotations

import quopri
from typing import NamedTuple

import pytest

from app.channels import email


class Language(NamedTuple):
    """The writer's words in two parts, our words, and how mail programs of this language speak."""

    own: str
    more: str
    ours: str
    gmail: str
    apple: str
    thunderbird: str
    headers: str
    original: str
    phone: str


LANGUAGES = {
    "en": Language(
        "Thanks, it works now.\n\nTwo things are left:\n- the invoice of May\n- more than > 5 users",
        "On Monday I wrote to you that the price is wrong.",
        "Please restart the app.\nThe manager will refund you.",
        "On Mon, Mar 3, 2025 at 10:11 AM Example Support <support@techcorp.example>\nwrote:",
        "On 3 Mar 2025, at 10:11, Example Support <support@techcorp.example> wrote:",
        "On 03/03/2025 10:11, Example Support wrote:",
        "From|Sent|To|Subject|Monday, March 3, 2025 10:11 AM",
        "Original Message",
        "Sent from my iPhone",
    ),
    "de": Language(
        "Danke, es geht wieder.\n\nZwei Dinge fehlen noch:\n- die Rechnung vom Mai\n- Am 3. März schrieb ich Ihnen",
        "Von: mir aus gerne auch telefonisch.",
        "Bitte starten Sie die App neu.\nDer Betrag wird erstattet.",
        "Am Mo., 3. März 2025 um 10:11 Uhr schrieb Beispiel Support <\nsupport@techcorp.example>:",
        "Am 03.03.2025 um 10:11 schrieb Beispiel Support <support@techcorp.example>:",
        "Am 03.03.25 um 10:11 schrieb Beispiel Support:",
        "Von|Gesendet|An|Betreff|Montag, 3. März 2025 10:11",
        "Ursprüngliche Nachricht",
        "Von meinem iPhone gesendet",
    ),
    "fr": Language(
        "Merci, tout fonctionne.\n\nIl reste deux points :\n- la facture de mai\n- le prix de l'offre",
        "De : rien, et à bientôt.",
        "Veuillez redémarrer l'application.\nLe montant sera remboursé.",
        "Le lun. 3 mars 2025 à 10:11, Exemple Support <support@techcorp.example> a\nécrit :",
        "Le 3 mars 2025 à 10:11, Exemple Support <support@techcorp.example> a écrit :",
        "Le 03/03/2025 à 10:11, Exemple Support a écrit\xa0:",
        "De|Envoyé|À|Objet|lundi 3 mars 2025 10:11",
        "Message d'origine",
        "Envoyé de mon iPhone",
    ),
    "es": Language(
        "Gracias, ya funciona.\n\nQuedan dos cosas:\n- la factura de mayo\n- el precio",
        "El lunes os escribí que el total está mal.",
        "Reinicie la aplicación.\nLe devolveremos el importe.",
        "El lun, 3 mar 2025 a las 10:11, Soporte Ejemplo (<support@techcorp.example>)\nescribió:",
        "El 3 mar 2025, a las 10:11, Soporte Ejemplo <support@techcorp.example> escribió:",
        "El 03/03/2025 a las 10:11, Soporte Ejemplo escribió:",
        "De|Enviado el|Para|Asunto|lunes, 3 de marzo de 2025 10:11",
        "Mensaje original",
        "Enviado desde mi iPhone",
    ),
    "pt": Language(
        "Obrigada, já funciona.\n\nFaltam duas coisas:\n- a fatura de maio\n- o preço",
        "Em maio escrevi que o total está errado.",
        "Reinicie a aplicação.\nO valor será devolvido.",
        "Em seg., 3 de mar. de 2025 às 10:11, Suporte Exemplo <\nsupport@techcorp.example> escreveu:",
        "No dia 3/03/2025, às 10:11, Suporte Exemplo <support@techcorp.example> escreveu:",
        "Em 03/03/2025 10:11, Suporte Exemplo escreveu:",
        "De|Enviado|Para|Assunto|segunda-feira, 3 de março de 2025 10:11",
        "Mensagem original",
        "Enviado do meu iPhone",
    ),
    "it": Language(
        "Grazie, ora funziona.\n\nMancano due cose:\n- la fattura di maggio\n- il prezzo",
        "Il tecnico ha scritto che il totale è sbagliato.",
        "Riavvii l'applicazione.\nL'importo sarà rimborsato.",
        "Il giorno lun 3 mar 2025 alle ore 10:11 Supporto Esempio <\nsupport@techcorp.example> ha scritto:",
        "Il giorno 3 mar 2025, alle ore 10:11, Supporto Esempio <support@techcorp.example> ha scritto:",
        "Il 03/03/2025 10:11, Supporto Esempio ha scritto:",
        "Da|Inviato|A|Oggetto|lunedì 3 marzo 2025 10:11",
        "Messaggio originale",
        "Inviato da iPhone",
    ),
    "nl": Language(
        "Bedankt, het werkt weer.\n\nEr zijn nog twee dingen:\n- de factuur van mei\n- de prijs",
        "Op maandag schreef ik dat het totaal niet klopt.",
        "Start de app opnieuw.\nHet bedrag wordt teruggestort.",
        "Op ma 3 mrt 2025 om 10:11 schreef Voorbeeld Support <\nsupport@techcorp.example>:",
        "Op 3 mrt 2025, om 10:11 heeft Voorbeeld Support <support@techcorp.example> het volgende geschreven:",
        "Op 03-03-2025 om 10:11 schreef Voorbeeld Support:",
        "Van|Verzonden|Aan|Onderwerp|maandag 3 maart 2025 10:11",
        "Oorspronkelijk bericht",
        "Verstuurd vanaf mijn iPhone",
    ),
    "pl": Language(
        "Dziękuję, już działa.\n\nZostały dwie sprawy:\n- faktura za maj\n- cena",
        "Do tej pory nikt nie pisze o zwrocie.",
        "Proszę uruchomić aplikację ponownie.\nKwota zostanie zwrócona.",
        "pon., 3 mar 2025 o 10:11 Przykład Support <support@techcorp.example>\nnapisał(a):",
        "Wiadomość napisana przez Przykład Support <support@techcorp.example> w dniu 3 mar 2025, o godz. 10:11:",
        "W dniu 03.03.2025 o 10:11, Przykład Support pisze:",
        "Od|Wysłane|Do|Temat|poniedziałek, 3 marca 2025 10:11",
        "Wiadomość oryginalna",
        "Wysłane z iPhone'a",
    ),
}


def quoted(text: str, mark: str = "> ") -> str:
    return "\n".join(f"{mark}{line}".rstrip() for line in text.split("\n"))


def html(text: str, tag: str = "div") -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"<{tag}>{line or '<br>'}</{tag}>" for line in escaped.split("\n"))


def outlook_headers(speech: Language, bold: str = "") -> str:
    sender, sent, to, subject, moment = speech.headers.split("|")
    colon = " :" if sender == "De" and sent == "Envoyé" else ":"
    values = (
        (sender, "Example Support <support@techcorp.example>"),
        (sent, moment),
        (to, "Ann Lee <ann@example.com>"),
        (subject, "Ticket 17"),
    )
    return "\n".join(f"{bold}{name}{colon}{bold} {value}" for name, value in values)


def block(text: str, attributes: str) -> str:
    return f"<blockquote {attributes}>{html(text)}</blockquote>"


TEXTS = {
    "gmail": lambda s: f"{s.own}\n{s.more}\n\n{s.gmail}\n\n{quoted(s.ours)}\n",
    "apple": lambda s: f"{s.own}\n{s.more}\n\n> {s.apple}\n> \n{quoted(s.ours)}\n",
    "apple, phone": lambda s: f"{s.own}\n{s.more}\n\n{s.phone}\n\n> {s.apple}\n> \n{quoted(s.ours)}\n",
    "thunderbird, below": lambda s: (
        f"{s.thunderbird}\n{quoted(s.ours)}\n\n{s.own}\n\n{s.more}\n\n-- \nAnn Lee\nLee & Co\n"
    ),
    "thunderbird, between": lambda s: (
        f"{s.thunderbird}\n{quoted(s.ours.split(chr(10))[0])}\n{s.own}\n\n{quoted(s.ours.split(chr(10))[1])}\n{s.more}\n"
    ),
    "outlook": lambda s: f"{s.own}\n\n{s.more}\n\n{'_' * 32}\n{outlook_headers(s)}\n\n{s.ours}\n",
    "outlook, bold": lambda s: f"{s.own}\n\n{s.more}\n\n{outlook_headers(s, '*')}\n\n{s.ours}\n",
    "outlook, older": lambda s: (
        f"{s.own}\n\n{s.more}\n\n-----{s.original}-----\n{outlook_headers(s)}\n\n{s.ours}\n"
    ),
    "android": lambda s: (
        f"{s.own}\n\n{s.more}\n\n-------- {s.original} --------\n{outlook_headers(s)}\n\n{s.ours}\n"
    ),
    "signed": lambda s: f"{s.own}\n\n{s.more}\n-- \nAnn Lee\n\n{s.gmail}\n{quoted(s.ours, '>')}\n",
    "not marked": lambda s: f"{s.own}\n\n{s.more}\n\n{s.apple}\n\n{s.ours}\n",
}
PAGES = {
    "gmail": lambda s: (
        f'<div dir="ltr">{html(s.own)}{html(s.more)}</div><br><div class="gmail_quote gmail_quote_container">'
        f'<div dir="ltr" class="gmail_attr">{s.gmail.replace("<", "&lt;")}<br></div>'
        f"{block(s.ours, 'class=gmail_quote style=margin:0px')}</div>"
    ),
    "gmail, older": lambda s: (
        f'{html(s.own)}{html(s.more)}<div class="gmail_extra"><div class="gmail_quote">{s.gmail.replace("<", "&lt;")}'
        f"<br>{block(s.ours, '')}</div></div>"
    ),
    "apple": lambda s: (
        f"<html><body>{html(s.own)}{html(s.more)}<div><br><blockquote type=cite><div>{s.apple.replace('<', '&lt;')}"
        f'</div><br class="Apple-interchange-newline">{html(s.ours)}</blockquote></div></body></html>'
    ),
    "thunderbird": lambda s: (
        f'<div class="moz-cite-prefix">{s.thunderbird}<br></div>{block(s.ours, "type=cite cite=mid:1@x")}'
        f"{html(s.own, 'p')}{html(s.more, 'p')}<div class=moz-signature>-- <br>Ann Lee</div>"
    ),
    "outlook": lambda s: (
        f"{html(s.own, 'p')}{html(s.more, 'p')}"
        "<div><div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in'>"
        f"{html(outlook_headers(s), 'p')}</div></div>{html(s.ours, 'p')}"
    ),
    "outlook, web": lambda s: (
        f'{html(s.own)}{html(s.more)}<div id="appendonsend"></div><hr style="width:98%"><div id="divRplyFwdMsg">'
        f"{html(outlook_headers(s))}</div><div>{html(s.ours)}</div>"
    ),
    "yahoo": lambda s: (
        f'{html(s.own)}{html(s.more)}<div id="ydp1yahoo_quoted_2" class="yahoo_quoted"><div>'
        f"{html(s.apple)}</div>{html(s.ours)}</div>"
    ),
}


def parsed(body: str, kind: str = "plain", **headers: str):
    named = {"From": "ann@example.com", "To": "support@techcorp.example", "Message-ID": "<1@example.com>"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    head += f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return email.parse(head.encode() + quopri.encodestring(body.encode()))


HEADERS = {
    "answer": {"In_Reply_To": "<ours@techcorp.example>"},
    "subject": {"Subject": "Re: Ticket 17"},
    "none": {},
}
REPLIES = [
    pytest.param(program(speech), kind, speech, headers, id=f"{language}, {kind}, {name}, {told_by}")
    for language, speech in LANGUAGES.items()
    for kind, programs in (("plain", TEXTS), ("html", PAGES))
    for name, program in programs.items()
    for told_by, headers in HEADERS.items()
    # Where nothing says that it is a reply, whoever shows us such headers means what follows, too.
    if (name, told_by) != ("outlook, bold", "none")
]


@pytest.mark.parametrize(("body", "kind", "speech", "headers"), REPLIES)
def test_of_a_reply_the_writers_words_are_new_and_ours_are_not(body, kind, speech, headers):
    message = parsed(body, kind, **headers)
    lines = [line.lstrip("- ") for line in f"{speech.own}\n{speech.more}".split("\n") if line]

    assert [line for line in lines if line not in message.new_text] == []
    assert [line for line in speech.ours.split("\n") if line in message.new_text] == []
    assert [line for line in speech.ours.split("\n") if line not in message.content] == []
    leftover = message.new_text
    for line in lines:
        leftover = leftover.replace(line, "")
    assert leftover.strip("- \n") == ""


SPECIAL = [
    ("Yes.\n\n> 5 users are affected, and it is urgent.\n", "Yes.\n\n> 5 users are affected, and it is urgent."),
    (">= 3 licences, please", ">= 3 licences, please"),
    ("From: Berlin\nTo: Paris\nDate: 5 May 2025\n\nTwo seats, please", "From: Berlin\nTo: Paris\nDate: 5 May 2025\n\nTwo seats, please"),
    ("Our notes:\n--\nfirst part\n--\nsecond part" + "\nline" * 14, "Our notes:\n--\nfirst part\n--\nsecond part" + "\nline" * 14),
    ("On 3 March 2025 your colleague wrote:\n\nWe will call you.\n\nNobody called.", "On 3 March 2025 your colleague wrote:\n\nWe will call you.\n\nNobody called."),
    ("Hello,\n\nSent from my old address, the letter came back.", "Hello,\n\nSent from my old address, the letter came back."),
    ("I wrote:\nplease refund me", "I wrote:\nplease refund me"),
    ("The error is:\n-----\nno such file\n-----\nWhat now?", "The error is:\n-----\nno such file\n-----\nWhat now?"),
    ("Best regards,\nAnn", "Best regards,\nAnn"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ("Thanks!\n\nAnn\n\nGet Outlook for iOS<https://aka.ms/o0ukef>\n________________________________\nFrom: S <s@x.example>\nSent: Monday, March 3, 2025 10:11:12 AM\nTo: Ann <a@x.example>\nSubject: Re: 17\n\nPlease restart.", "Thanks!\n\nAnn"),
    ("Passt!\n\nGesendet: Montag, 03. März 2025 um 10:11 Uhr\nVon: \"Support\" <s@x.example>\nAn: ann@x.example\nBetreff: Re: 17\nBitte neu starten.", "Passt!"),
    ("Ok\n\nOn Monday, March 3rd, 2025 at 10:11 AM, S <s@x.example> wrote:\n\n> Please restart.", "Ok"),
    ("Ok\n\nSupport <s@x.example> wrote on 03/03/2025 10:11:12 AM:\n\n> Please restart.", "Ok"),
    ("Ok\n\n2025-03-03 10:11 GMT+01:00 Support <s@x.example>:\n\n> Please restart.", "Ok"),
    ("> Please restart.\n\nDone.\n\n> And then?\n\nStill broken.", "Done.\n\nStill broken."),
    (">> older\n> newer\nFine", "Fine"),
    ("\u043f\u043d, 3 \u043c\u0430\u0440. 2025 \u0433. \u0432 10:11, S <s@x.example>:\n> Please restart.\n\u0421\u043f\u0430\u0441\u0438\u0431\u043e", "\u0421\u043f\u0430\u0441\u0438\u0431\u043e"),
    ("On Mon, Mar 3, 2025 at 10:11 AM A Very Long Name Of A Support Team\n<support@techcorp.example> wrote:\n> Please restart.\n\nDone", "Done"),
    ("谢谢\n\n发件人: S <s@x.example>\n发送时间: 2025年3月3日 10:11\n收件人: Ann\n主题: Re: 17\n\n请重启", "谢谢"),
    ("好的\n\nS <s@x.example> 于2025年3月3日周一 10:11写道：\n> 请重启", "好的"),
    ("Спасибо\n\nОт: S <s@x.example>\nОтправлено: 3 марта 2025 г. 10:11\nКому: Ann\nТема: 17\n\nПерезапустите", "Спасибо"),
    ("ありがとう\n\n差出人: S <s@x.example>\n送信日時: 2025年3月3日 10:11\n宛先: Ann\n件名: 17\n\n再起動", "ありがとう"),
    ("Tack\n\nFrån: S <s@x.example>\nSkickat: den 3 mars 2025 10:11\nTill: Ann\nÄmne: 17\n\nStarta om", "Tack"),
    ("Teşekkürler\n\nS <s@x.example>, 3 Mar 2025 Pzt, 10:11 tarihinde şunu yazdı:\n\n> Yeniden", "Teşekkürler"),
    ("תודה\n\nבתאריך יום ב׳, 3 במרץ 2025 ב-10:11 מאת S <s@x.example>:\n\n> Restart", "תודה"),
    ("> Please restart.", ""),
    ("-- \nAnn", "-- \nAnn"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "new"), SPECIAL)
def test_what_is_new_letter_by_letter(body, new):
    assert parsed(body, Subject="Re: 17").new_text == new


@pytest.mark.parametrize(
    ("page", "new", "content"),
    [
        (
            '<div>Works now</div><div class="gmail_quote">On Wed ... wrote:<blockquote>The manager will refund.'
            "</blockquote></div>",
            "Works now",
            "Works now\nOn Wed ... wrote:\n\n> The manager will refund.",
        ),
        (
            '<p>See:</p><blockquote style="margin:0 0 0 40px;border:none;padding:0px">my own list</blockquote>',
            "See:\n\nmy own list",
            "See:\n\nmy own list",
        ),
        (
            "<blockquote type=cite>Shall we?<blockquote type=cite>Older</blockquote></blockquote><p>Yes</p>",
            "Yes",
            "> Shall we?\n>\n> > Older\n\nYes",
        ),
        ("<blockquote type=cite><pre>a\n  b</pre></blockquote>Yes", "Yes", "> a\n>   b\n\nYes"),
        ("</div></blockquote>Yes<div><blockquote type=cite>No", "Yes", "Yes\n\n> No"),
    ],
)
def test_html_says_itself_what_it_quotes(page, new, content):
    message = parsed(page, "html")

    assert (message.new_text, message.content) == (new, content)


FORWARD = "---------- Forwarded message ---------\nFrom: Bank <b@bank.example>\nDate: Mon, 3 Mar 2025\n\nYou owe us 5."


@pytest.mark.parametrize("divider", ["---------- Forwarded message ---------", "Begin forwarded message:", "-------- Weitergeleitete Nachricht --------"])  # fmt: skip
def test_of_a_forwarded_message_the_writers_own_words_are_new_else_all(divider):
    forwarded = FORWARD.replace("---------- Forwarded message ---------", divider)

    assert parsed(f"Is this from you?\n\n{forwarded}").new_text == "Is this from you?"
    assert parsed(forwarded).new_text == parsed(forwarded).content


def test_the_html_says_what_is_new_where_the_plain_text_does_not():
    plain = "Fine\nS kirjoitti maanantaina\nPlease restart."
    page = "<p>Fine</p><div class=gmail_quote><div class=gmail_attr>S</div><blockquote>Please restart.</blockquote></div>"
    parts = "".join(
        f"--B\r\nContent-Type: text/{kind}\r\n\r\n{text}\r\n"
        for kind, text in (("plain", plain), ("html", page))
    )
    head = (
        "From: ann@example.com\r\nTo: s@x.example\r\nContent-Type: multipart/alternative; boundary=B\r\n\r\n"
    )
    message = email.parse(f"{head}{parts}--B--\r\n".encode())

    assert (message.content, message.new_text) == (plain, "Fine")


def test_marks_that_a_mail_brings_are_taken_out():
    message = parsed("\ufdd0My words\n\ufdd2and more")

    assert message.new_text == message.content == "My words\nand more"


@pytest.mark.parametrize(
    "line",
    [
        "------------------ 原始邮件 ------------------",
        "------------------ Original ------------------",
        "------------------&nbsp;Original&nbsp;------------------",
        "-----Исходное сообщение-----",
        "---------- Původní e-mail ----------",
        "-----Eredeti üzenet-----",
        "-----Orijinal İleti-----",
        "----- 원본 메일 -----",
    ],
)
def test_a_line_that_parts_the_original_in_any_language_ends_what_is_new(line):
    line = line.replace("&nbsp;", "\u00a0")
    body = f"It works.\n\n{line}\nFrom: Support <support@us.example>\n\nPlease try again."
    head = "From: ann@z.example\nTo: support@us.example\nIn-Reply-To: <a@us.example>\nSubject: Re: x\n"
    raw = f"{head}Content-Type: text/plain; charset=utf-8\n\n{body}".replace("\n", "\r\n").encode()

    message = email.parse(raw)

    assert (message.new_text, message.content) == ("It works.", body)


@pytest.mark.parametrize("line", ["-- original --", "the original", "--- see the original ---"])
def test_a_line_of_the_writer_s_about_an_original_is_new(line):
    raw = f"From: ann@z.example\r\nTo: s@us.example\r\nSubject: x\r\n\r\nHere:\r\n{line}\r\nYours".encode()

    assert email.parse(raw).new_text == f"Here:\n{line}\nYours"
