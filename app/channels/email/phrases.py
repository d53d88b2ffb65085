"""The words by which mail programs introduce what they quote, forward, sign or answer by themselves.

In German, English, Spanish, French, Italian, Dutch, Polish and Portuguese, with some of their neighbours.
Each piece is a regular expression without a group of its own.
"""

from __future__ import annotations

import re


def listed(text: str) -> tuple[str, ...]:
    """The pieces of a text, between " | " and the ends of its lines."""
    return tuple(piece for line in text.split("\n") for piece in line.strip().split(" | ") if piece)


def any_of(*words: str) -> str:
    return f"(?:{'|'.join(words)})"


def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


COLONS = (":", "：")
_COLON = "[:：]"

_WROTE = listed(r"""
    wrote | writes | schrieb | escribi[oó] | a [eé]crit | ha scritto | schreef | geschreven
    napisał(?:\(a\)|a)? | pisze | napisana przez | escreveu | skrev | kirjoitti | napsal(?:\(a\)|a)?
    写道 | 寫道 | 님이 작성 | 작성 | 쓴 글 | (?<!\w)كتب | تمت كتابة | írta | a scris
    написал(?:\(а\)|а)? | пишет | yazdı
""")
WROTE = compiled(rf"{any_of(*_WROTE)}(?!\w)")
"""The verb of a line such as "On Monday, Ann wrote:"."""

_LEADS = listed(r"""
    On | Am | Le | El | Em | No dia | Il(?: giorno)? | Op | W dniu | Dnia | Wiadomość | Den | Dne
    \d{1,4}[./-]\d{1,2}
""")
_DAYS = listed(r"""
    mon | tue | wed | thu | fri | sat | sun | mo | di | mi | do | fr | sa | so | pon | wt | śr | czw
    pt | sob | niedz | lun | mar | mer | jeu | ven | sam | dim | пн | вт | ср | чт | пт | сб | вс
""")
_EASTERN_LEADS = (r"\d{4}[年년]", r"(?:在|于|於)\s?\d{4}", r"في\s", r"\d{1,2} \w{3,10}\.? \d{4} ?г\.")
LEADS = compiled(
    rf"\s*(?:{any_of(*_LEADS)}[\s,./-]|{any_of(*_DAYS)}\w{{0,6}}\.?,\s|{any_of(*_EASTERN_LEADS)})"
)
"""How such a line begins."""
QUOTING = compiled(r"\s*(?:quoting|zitat von|citando|mensaje citado por)\s")
"""How a line begins that has no such verb, but an address."""

MOMENT = compiled(
    r"\b\d{1,2}[:.h]\d{2}\b|\b\d{1,4}[./-]\d{1,2}[./-]\d{2,4}\b|\b(?:19|20)\d\d\b",
)
TIME = compiled(r"(?<![\d.])\d{1,2}(?::| ?h ?|[.](?=\d\d(?![\d.])))\d{2}(?!\d)")
"""A time of day, which mail programs tell and people seldom do."""
ADDRESS = compiled(r"[^\s<>@]{1,64}@[^\s<>@]{1,190}\.[^\s<>@]{1,60}")

_ORIGINAL = listed(r"""
    original (?:message|appointment|e-?mail) | (?:urspr[uü]ngliche|original)[ -]?(?:nachricht|(?:e-?)?mail)
    (?:mail|correo|e-?mail) original | (?:e-?)?mail originale | oorspronkelijke? e-?mail
    message d['\u2019]origine | message original | mensaje original | mensagem original
    messaggio originale | oorspronkelijke? bericht | wiadomość oryginalna
    (?:oryginalna|pierwotna) wiadomość | original meddelelse | oprindelig meddelelse
    ursprungligt meddelande | 原始(?:邮件|信件|郵件|訊息) | 元のメッセージ | 원본 (?:메시지|메일)
    исходное сообщение | původní (?:zpráva|e-?mail) | eredeti üzenet
    (?:orijinal|özgün) (?:ileti|mesaj) | mesaj original | الرسالة الأصلية | ההודעה המקורית
    αρχικό μήνυμα | alkuperäinen viesti | mesajul original
""")
_FORWARDED = listed(r"""
    forwarded message | forwarded by .{1,80} | weitergeleitete (?:nachricht|e-?mail)
    message transf[eé]r[eé] | mensaje reenviado | mensagem (?:re)?encaminhada | messaggio inoltrato
    vidarebefordrat meddelande | videresendt (?:meddelelse|melding) | edelleenlähetetty viesti
    перенаправленное сообщение | пересылаемое сообщение | přeposlaná zpráva | továbbított üzenet
    i̇?letil(?:en|miş) (?:ileti|mesaj) | 転送されたメッセージ | 转发的?(?:消息|邮件)
    轉寄的?郵件 | 전달된 메(?:시지|일)
    doorgestuurd bericht | wiadomość przekazana dalej | (?:przekazana|treść przekazanej) wiadomo\w+
""")
_BEGINS = listed(r"""
    begin forwarded message | anfang der weitergeleiteten nachricht
    d[eé]but du message (?:r[eé]exp[eé]di[eé]|transf[eé]r[eé]) | inicio del mensaje reenviado
    in[ií]cio da mensagem (?:re)?encaminhada | inizio messaggio inoltrato | begin doorgestuurd bericht
    początek przekazywanej wiadomości | start på videresendt besked | vidarebefordrat brev
    videresendt melding | edelleenlähetetty viesti alkaa | начало переадресованного сообщения
    začátek přeposlané zprávy | i̇?letilen iletinin başlangıcı | 転送されたメッセージ
    (?:开始)?转发的邮件 | 开始转发的信息 | 開始轉寄郵件 | 전달된 메시지 시작
""")
# The shortest of them, QQ's in English, stands between long lines.
ORIGINAL = compiled(
    rf"\s*[-_=*]{{2,}}\s*{any_of(*_ORIGINAL)}.{{0,40}}?[-_=*]{{2,}}\s*|\s*-{{12,}}\s*original\s*-{{12,}}\s*"
)
BARE_ORIGINAL = compiled(rf"\s*{any_of(*_ORIGINAL)}\s*")
"""The same where headers follow it at once."""
# Notes and Zoho name the writer in it, GroupWise in a line of its own kind.
ORIGINAL_OF = compiled(
    rf"\s*-{{3,}}\s?\w.{{0,250}}{any_of(*_WROTE)}\s?{_COLON}?\s?-{{3,}}\s*|\s*>>> \S.{{0,250}} >>>\s*"
)
FORWARDED = compiled(
    rf"\s*[-_=*]{{2,}}\s*{any_of(*_FORWARDED)}.{{0,40}}?[-_=*]{{2,}}\s*|\s*{any_of(*_BEGINS)}\s*{_COLON}\s*"
)
RULE = compiled(r"\s*(?:[_-]{20,}|_{5,})\s*")
"""The line that Outlook draws above the headers of what it quotes."""

_HEADERS = {
    "from": listed(r"""
        от | від | 发件人 | 寄件者 | 差出人 | 보낸 사람 | من | מאת | από | gönderen | kimden | lähettäjä
        feladó | de la | отправитель | odesílatel | from | von | de | da | van | od | fr[aå]n?
        expéditeur | remitente | remetente | mittente
    """),
    "date": listed(r"""
        отправлено | дата | 发送时间 | 日期 | 寄件日期 | 送信日時 | 日時 | 보낸 날짜 | تاريخ الإرسال
        تم الإرسال | التاريخ | נשלח | תאריך | στάλθηκε | ημερομηνία | odesláno | gönderildi
        gönderme tarihi | tarih | lähetetty | päivämäärä | elküldve | dátum | trimis | sent | date
        gesendet(?: am)? | datum | envoy[eé](?: le)? | enviad[oa](?: el| em)? | fecha | data | inviato
        verzonden | wysłan[eoy] | sendt | skickat
    """),
    "to": listed(r"""
        кому | 收件人 | 收件者 | 宛先 | 받는 사람 | إلى | אל | προς | kime | alıcı | vastaanottaja
        címzett | komu | către | to | an | [àa] | para | aan | do | til | till | pour | per
        destinat[aá]rio | adresat
    """),
    "subject": listed(r"""
        тема | 主题 | 主旨 | 件名 | 제목 | الموضوع | נושא | θέμα | konu | aihe | tárgy | předmět
        subiect | subject | betreff | objet | asunto | assunto | oggetto | onderwerp | temat | emne
        ämne
    """),
    "other": listed(r"""
        cc | kopie | copie | dw | reply-to | antwort an | importance | priorit\w+ | wichtigkeit
    """),
}
HEADER = {
    name: compiled(rf"\s*[*_]{{0,2}}{any_of(*words)}\s?[*_]{{0,2}}\s?{_COLON}[*_]{{0,2}}(?:\s|\Z)")
    for name, words in _HEADERS.items()
}
"""The headers of a message that is quoted without marks."""

_NUMBER = r"\s?(?:\[\d+\]|\(\d+\))?\s?"
REPLY_SUBJECT = compiled(
    rf"\s*{any_of('re', 'aw', 'antw', 'sv', 'vs', 'rif', 'r[eé]f?', 'res', 'r', 'odp', 'ynt', '回复')}"
    rf"{_NUMBER}{_COLON}"
)
FORWARD_SUBJECT = compiled(
    rf"\s*{any_of('fwd?', 'wg', 'tr', 'rv', 'enc', 'i', 'doorst', 'pd', 'vl', 'vb')}{_NUMBER}{_COLON}"
)

_AUTOMATIC = listed(r"""
    auto(?:mat(?:ic|ed))?[- ]?(?:reply|response|answer) | out of (?:the )?office(?: auto[- ]?reply)?
    vacation (?:auto)?-?(?:reply|response) | ooo | automatische (?:antwort|eingangsbestätigung)
    abwesenheits(?:notiz|meldung|benachrichtigung|assistent) | abwesend | fuori ufficio | hors du bureau
    absente? du bureau | fraværs(?:besked|meddelelse|melding) | frånvaromeddelande | automatisk besked
    poza biurem | mimo kancelář | házon kívül | ofis dışında | 不在通知 | תשובה אוטומטית
    автоответ(?:чик)? | abwesenheit | 부재중 ?자동 ?(?:회신|응답)
    tự động trả lời | r[eé]ponse automatique | absence du bureau | respuesta autom[aá]tica
    fuera de (?:la )?oficina | resposta autom[aáà]tica | fora do escrit[oó]rio | risposta automatica
    fuori sede | automatisch antwoord | afwezig(?:heidsbericht)? | odpowiedź automatyczna
    automatyczna odpowiedź | automatiskt svar | automatisk svar | autosvar | sjálfvirkt svar
    automaattinen vastaus | automatick[áy] odpov[eě]ď | automatikus válasz | răspuns automat
    otomatik yanıt | automats?ki odgovor | automatsko slanje odgovora | samodejni odgovor
    automatinis atsakymas | automātiskā atbilde | automaatvastus | erantzun automatikoa
    αυτόματη απάντηση | автоматический ответ | автоматична відповідь | автоматичен отговор
    аутоматски одговор | автоматски одговор | תגובה אוטומטית | מענה אוטומטי | (?:ال)?رد (?:ال)?تلقائي
    پاسخ خودکار | การตอบกลับอัตโนมัติ | ตอบกลับอัตโนมัติ | (?:thư )?trả lời tự động
    balasan (?:otomatis|automatik) | jawapan automatik | स्वचालित (?:उत्तर|जवाब) | 自动(?:答复|回复)
    自動(?:回覆|応答|返信) | 자동 ?(?:회신|응답|답장)
""")
# Notes names the person and the day of the return.
_OF_NOTES = any_of(
    r"\(return", r"\(r[üu]ckkehr", r"\(retour", "out of the office", "au(?:ß|ss)er haus", "absente?"
)
AUTOMATIC_SUBJECT = compiled(
    rf"\s*(?:{any_of(*_AUTOMATIC)}(?:\s?(?:{_COLON}|\Z)| re{_COLON})|\[{any_of(*_AUTOMATIC)}\]"
    rf"|auto: .{{1,200}}{_OF_NOTES})"
)

_BOUNCED = listed(r"""
    undeliver(?:ed|able) | mail (?:delivery|system) (?:fail|system|sub|error) | mail delivery:? failed
    delivery (?:status|fail|has failed|incomplete|notification|problem|error|delayed) | failure notice
    returned (?:e-?)?mail | (?:message|mail) (?:not delivered|undeliverable|could not be delivered)
    delayed mail | (?:mail|message) delayed | warning: could not send | non[- ]delivery | rejected mail
    unzustellbar | nicht zugestellt | zustellung (?:fehlgeschlagen|verzögert)
    fehlgeschlagene zustellung | non remis(?:e|able)? | échec de (?:la )?(?:remise|distribution)
    no se puede entregar | no (?:se ha )?entregad[oa] | fallo en la entrega | error de entrega
    mancato recapito | consegna (?:non riuscita|fallita) | impossibile recapitare
    niet (?:bestelbaar|afgeleverd) | onbestelbaar | não (?:foi )?entregue | falha na entrega
    niedostarczon | zwrot poczty | nie (?:można )?dostarcz | kunde inte levereras | kunne ikke leveres
    nedoručiteln | nedoručen | kézbesíthetetlen | не доставлен | недоставленн | 配信不能 | 未送達
    无法投递 | 退信 | 전달되지 않음 | nondeliverable | não é possível entregar | non recapitabil
    niedostarczaln | не уда[её]тся доставить | 无法送达 | 傳送失敗 | 無法傳遞 | inte leverera
    (?:kan )?ikke leveres | teslim edilemedi | 전달할 수 없
""")
BOUNCE_SUBJECT = compiled(any_of(*_BOUNCED))
