"""The line that telephones and mail programs add below what somebody wrote with them.

It is one only where it is that line to its end: "Sent from my phone it fails" is the writer's own.
"""

from __future__ import annotations

from .phrases import any_of, compiled, listed

_DEVICES = listed(r"""
    i ?phone\w{0,5} | ios | i ?pad | android | samsung | galaxy | huawei | xiaomi | redmi | pixel
    nokia | motorola | oneplus | blackberry | smartphone | handy | mobiltelefon
    mobile(?: device| phone)? | telefon\w* | t[eé]l[eé]phone | m[oó]vil | telem[oó]vel | celular
    cellulare | telefoon | tablet | outlook | yahoo | gmx | web\.de | proton ?mail | thunderbird | gmail
    superhuman | spark | tuta(?:nota)? | fair ?email | k-9(?: mail)? | blue ?mail | aqua ?mail | airmail
    mail | phone | device | appareil | courrier | correo | posta | poczta | \S{0,8}почты
""")
_SENT_FROM = listed(r"""
    sent (?:from|with|via) | get (?:outlook|bluemail) for | von meine[mr](?:/meine[mr])?
    gesendet (?:von|mit|über)
    holen sie sich outlook | diese nachricht wurde von | envoy[eé] (?:de|depuis|à partir|avec)
    obtenez outlook | t[eé]l[eé]charge[zr]? outlook | enviado (?:desde|do|a partir|con|com|via)
    obtener outlook | obter (?:o )?outlook | inviato (?:da|dal) | (?:scarica|ottieni) outlook
    (?:verzonden|verstuurd) (?:vanaf|vanuit|met|via) | outlook voor .{2,10} downloaden
    wysłan[eyo] (?:z|za) | pobierz (?:program |aplikację )?outlook | skickat (?:från|med)
    sendt (?:fra|med) | (?:skaffa|hämta|hent|skaff deg) outlook | lähetetty | hanki outlook
    отправлено \w{1,5} | (?:скачать|загрузить|получить) outlook | надіслано (?:з|із) | odesláno z
    stáhnout outlook | elküldve | trimis (?:de pe|din) | στάλθηκε από | נשלח מ | أُ?رسلت? من
    الحصول على outlook
""")
_DEVICE = any_of(*_DEVICES)
# Where the verb comes last, or nothing parts the words.
_SENT_FROM_WHOLE = tuple(
    piece.replace("DEVICE", _DEVICE)
    for piece in listed(r"""
    DEVICE\S{0,6} gönderildi | DEVICE\s?から(?:送信|送られた).{0,10} | נשלח מה-?DEVICE(?: שלי)?
    (?:发自|發自)(?:我的)?\s?DEVICE.{0,20} | 從我的\s?DEVICE\s?(?:傳送|寄出)
    (?:(?:나의|내)\s?)?DEVICE에서 보냄 | أُ?رسلت? من الـ\s?DEVICE
    \[?yahoo mail: search, organi[sz]e, conquer\]?
    outlook (?:für|voor|för) .{2,12} (?:beziehen|downloaden|hämtas) | outlook for .{2,10} を入手
    (?:获取|取得) outlook for .{2,10} | .{2,10}용 outlook 다운로드 | .{2,10} için outlook\S{0,4} edinin
""")
)
# What stands behind the device; whoever goes on in other words says something.
_TAIL = listed(r"""
    для мобильных | orange | claro | for | on | für | auf | mit | der | die | pour | sur | para | en
    per | su | voor | op | dla | na | för | til | till | для | на | by | an? | the | de | da | di | o
    windows | mac | macos | linux | app | mobile | portable | ger[äa]t | plus | pro | max | mini | ultra
    note | edge | lite | sony | xperia | verizon | t-mobile | lte | gesendet | geschickt | verschickt
    versendet | verfasst | geschrieben | secure email | correo seguro | aus gesendet
    messagerie sécurisée | beveiligde e-?mail | sichere e-?mail | [^\s,]{0,12}[&\d][^\s,]{0,12}
""")
_LINK = r"\s?\]?[<(\[]?\s?https?://\S{1,90}"
# Some stand between characters that nobody sees.
_UNSEEN = r"[\s\u200b-\u200f\u2060-\u2064\ufeff]"
SENT_FROM = compiled(
    rf"{_UNSEEN}*{any_of(*_SENT_FROM)}(?!\w)(?:[\s,]{{1,3}}[^\s,]{{1,30}}){{0,6}}?"
    rf"[\s,]{{1,3}}[^\s,\w]{{0,3}}{_DEVICE}(?:['\u2019-]\w{{1,4}})?(?!\w)"
    rf"(?:{_LINK})?(?:[\s,-]{{1,3}}{any_of(*_DEVICES, *_TAIL)}(?!\w)){{0,10}}(?:{_LINK})?"
    rf"(?:[.!\])>]|{_UNSEEN})*"
    rf"|\s*{any_of(*_SENT_FROM_WHOLE)}(?:{_LINK})?[\s.]*"
)
