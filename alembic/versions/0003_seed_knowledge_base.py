"""Fill the knowledge base with the product documentation of TechCorp.

Without it the first search of a new installation finds nothing. Embeddings stay empty: a model computes them
later, outside the migration. An id is derived from the section's title, so every database has the same ids,
and a section that is already there is left alone.

Locks: ROW EXCLUSIVE on knowledge_base; reads and writes go on. Waits for an open edit of the same section.
Reversible: yes. A downgrade deletes the sections that nobody edited, with the embeddings computed for them;
an edited one stays as it is, through a later upgrade too.
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A downgrade takes back the rows of this table that the upgrade made.
SEEDS = "knowledge_base"

SOURCE = "product-docs"

KNOWLEDGE_BASE = sa.table(
    "knowledge_base", *(sa.column(name) for name in ("id", "title", "content", "category", "source"))
)

DOCUMENTATION = {
    "faq": """
## How long the free trial lasts and what happens at its end
Every new workspace starts with a 14-day trial of the Professional plan; no payment card is needed. Three days
before the end the owner gets a reminder by email. If you choose no plan, the workspace moves to Free on day
15. Nothing is deleted, but while you are beyond the limits of Free (5 members, 2 GB of storage) all content
is read-only until you remove some or pick a paid plan. Each workspace gets one trial. If your evaluation
needs more time, write to support@techcorp.io before the last day: an agent can extend it once, by 7 days.

## Supported browsers, operating systems and devices
The web app at app.techcorp.io runs in the current and the previous major version of Chrome, Edge, Firefox and
Safari; cookies and WebSockets must be allowed. Internet Explorer is not supported. The desktop app needs
macOS 12 or Windows 10 or newer; on Linux and ChromeOS use the browser. The mobile app needs iOS 16 or Android
10 and is free in the App Store and on Google Play. Older systems see the notice "Please update" and can no
longer sign in. In an office with a strict firewall, ask your IT team to allow *.techcorp.io on port 443.

## Restoring deleted tasks, pages and files
Whatever you delete goes to the Trash and stays there for 30 days on every plan; Enterprise owners can set
anything from 7 to 365 days. Open Trash at the bottom of the sidebar, filter by person or date, and press
Restore: the item returns to its project with comments and attachments. Members can bring back what they
deleted themselves, admins everything. A restored project brings all its tasks along. After that period, or
after "Delete forever", an item is gone for good: support cannot pull single items out of a backup.

## Where your data is stored and how it is protected
When you create a workspace you choose its region: Frankfurt (EU) or Virginia (US). It cannot be changed
later, except on Enterprise, where support moves a workspace in an agreed maintenance window. Data is
encrypted with AES-256 at rest and TLS 1.2 or newer in transit. Backups run every 6 hours and are kept for 35
days in the same region. TechCorp is certified to ISO 27001 and audited for SOC 2 Type II; Professional and
Enterprise customers can request both reports. The data processing agreement (DPA) is signed online under
Settings > Workspace > Legal.

## Storage space and attachment size limits by plan
Free has 2 GB of storage for the whole workspace and accepts attachments up to 25 MB each. Starter has 50 GB
and 100 MB per file, Professional 500 GB and 1 GB per file, Enterprise 5 TB and 5 GB per file. A larger file
is refused with TC-413, any upload to a full workspace with TC-507: empty the Trash, which counts too, remove
the biggest items under Settings > Workspace > Usage, or add 100 GB for $10 a month under Settings > Billing >
Add-ons (paid plans). Owners are warned by email at 80 and at 95 percent. Any file type is accepted except
programs (.exe, .bat, .msi, .scr).

## Sharing with clients and people outside your company
There are two ways. Guests sign in with their own email address and see only the projects they were added to;
open the project and choose Share > Invite guest. Guests are not billed: Starter allows 10, Professional 100,
Enterprise any number, Free none. A public link shows one page read-only to anyone who has it: Page > Share >
Publish link; Professional and Enterprise can set a password and an expiry date. Admins switch both off under
Settings > Security > External sharing. When you remove a guest, access ends at once; their comments stay.
""",
    "troubleshooting": """
## Error codes and what they mean
TC-400: the request is malformed. TC-401: you are signed out, the session expired or the API key is revoked.
TC-402: the workspace is read-only because a payment is overdue. TC-403: your role does not allow this.
TC-404: the item does not exist or is not shared with you. TC-409: edit conflict. TC-413: file too large.
TC-422: invalid import data. TC-423: account locked. TC-429: too many requests. TC-460: single sign-on was
rejected. TC-507: storage full. TC-500 is a fault on our side; TC-502, TC-503 and TC-504 mean that the service
is briefly unavailable. Wait a minute and retry; if a TC-5xx code lasts longer than 10 minutes, send support
the request ID printed under it.

## Notifications or emails do not arrive
First open Profile > Notifications and see whether the channel is on and quiet hours are off; a crossed bell
beside a project means that you muted it. For missing emails, search the spam folder and allow the sender
notify@techcorp.io. After three hard bounces we stop mailing an address: your profile then shows "Confirm your
email", and one click resumes delivery. For missing push alerts on a phone, allow notifications in the system
settings, switch battery optimisation off for the app, then sign out and in again. Mentions are sent at once,
all else bundled once an hour.

## Pages load slowly or stay blank
Look at status.techcorp.io first. Then open app.techcorp.io in a private window: if that works, an extension
(often an ad blocker) or old site data is the cause, so disable it or clear the site's cookies and cache.
Reload without cache with Ctrl+Shift+R, or Cmd+Shift+R on a Mac. VPNs and proxies must let WebSockets through.
Boards with more than 2,000 open tasks and pages with more than 300 images are slow to draw; archive or split
them. Still over 10 seconds? Run app.techcorp.io/diagnostics and send support the code it shows.

## Resolving an edit conflict (TC-409)
Two people changed the same field while one of them was offline: whoever saves second sees TC-409 and a yellow
banner. Nothing is lost. Press Review and choose Keep mine, Keep theirs or, for page text, Merge, which shows
both versions side by side. Changes to different fields of a task are combined without asking. Versions that
nobody resolved stay for 30 days under Page > History > Conflicts. If one person meets conflicts every day,
the clock of that computer is usually wrong or its desktop app outdated. API clients get TC-409 when their
If-Match header is stale: read the item again and retry.

## Mobile app shows old content or does not sync
Pull down to refresh and look at the cloud icon: grey is offline, amber is uploading, red is blocked. Tap a
red cloud to see which item is stuck. Usual reasons are low-data mode, a forbidden background refresh, less
than 200 MB of free space on the phone, or an app version older than three months. Update the app, then choose
Profile > Sync > Sync now. As a last resort use Profile > Sync > Reset local copy, which downloads everything
afresh; press "Save pending changes" before, since edits that were never uploaded are lost by a reset.

## API calls are rejected with TC-429 (rate limits)
The API allows 60 requests a minute per workspace on Free, 120 on Starter, 600 on Professional and 3,000 on
Enterprise; all keys of a workspace share this. Every response carries X-RateLimit-Limit and
X-RateLimit-Remaining, and a TC-429 also Retry-After in seconds. Wait that long, then retry with growing,
slightly random pauses. To need fewer calls, ask for pages of 200 items instead of 50 and use webhooks instead
of polling. Search counts as five requests. Settings > Developer > Usage charts the last 30 days. Enterprise
customers can ask support for a higher limit.

## CSV import stops with TC-422
An import is all or nothing, so after TC-422 no row was added. Download the error report on the import page:
it names row, column and reason. Most often the file is not UTF-8 (in Excel save as "CSV UTF-8"), a date is
not written YYYY-MM-DD, an assignee's address belongs to no member, a title is empty, or the separator is a
semicolon while comma is chosen in the preview. Split files above 10,000 rows or 20 MB. Correct the file and
upload it again; rows with an external_id that was imported earlier are updated, never doubled.
""",
    "feature": """
## Importing tasks from a CSV file
Open the project, choose More > Import > CSV, drop the file and match its columns in the preview. Only title
is required; assignee (email address), due_date, status, tags and external_id are recognised by name, other
columns become custom fields. One file may hold 10,000 rows and 20 MB, encoded as UTF-8. Imports from Trello,
Asana and Jira are in the same menu and need no file. Starting an import takes the Member role or higher, and
nobody is notified about the new tasks. For 24 hours, More > Import > Undo removes all it created.

## Exporting your workspace data
Owners and admins open Settings > Workspace > Export and choose a format. JSON and CSV of tasks, pages and
comments are available on every plan, PDF of pages from Starter on, and a full archive that includes
attachments on Professional and Enterprise. We prepare the archive in the background, at most 24 hours, and
mail you a download link that is valid for 7 days. One full archive can be ordered per day. Members export a
single board or page through More > Download. Deleted items and other people's private drafts are left out.

## Connecting Slack
An admin opens Settings > Integrations > Slack, presses Connect and approves the requested permissions in
Slack. Then, in any channel, type /techcorp link and pick a project: new tasks, status changes and comments
are posted there. Turn any message into a task by its menu, More actions > Create TechCorp task. Pasted links
to tasks unfold into a preview for people who may see them. Private channels need /invite @TechCorp first.
Free connects one channel, paid plans any number. If posts stop, press Reconnect; a Slack admin has revoked
the access.

## Calendar sync with Google and Outlook
Under Profile > Calendars connect a Google or Microsoft 365 calendar. On paid plans the sync goes both ways:
tasks with a due date appear as events within 15 minutes, and moving the event moves the due date. Choose
which projects are shown and whether all assignees or only your own tasks. On Free, and for Apple Calendar,
copy the private feed address (ICS): it is read-only, and your calendar program decides how often it looks,
often only once a day. Reset the feed address if it was shared by mistake. Declining an event changes no task.

## Creating and rotating API keys
Owners and admins create keys under Settings > Developer > API keys. Choose a name, a scope (read, write or
admin) and an expiry of 90 days, one year or never. The key begins with tck_live_ and is displayed once: store
it in a secret manager, since we keep only a hash. Send it as a header, Authorization: Bearer followed by the
key, to api.techcorp.io/v2. Rotate makes a new key and lets the old one work for 24 more hours; Revoke stops
it at once, after which calls get TC-401. A key keeps working after its creator has left.

## Receiving events through webhooks
Webhooks tell your own systems about changes and are part of Professional and Enterprise. Add an endpoint
under Settings > Developer > Webhooks: an https address and the events (task.created, task.updated,
comment.created, member.joined). A workspace may have 20 endpoints, on Enterprise 100. Each delivery is a JSON
POST with an event id and the header X-TechCorp-Signature, an HMAC-SHA256 of the raw body made with the
endpoint's secret; verify it before you trust the content. Answer with a 2xx status within 10 seconds;
otherwise we try 8 more times over 24 hours, and pause the endpoint after 3 days without success. Deliveries
lists the last 7 days and can replay them. Events may arrive twice or out of order, so remember the event id.

## Working offline on phone and tablet
The mobile app keeps your favourites and everything opened in the last 30 days on the device, so you can read
it on a plane. Tap the arrow on a project and choose "Keep on this device" to have the rest too; attachments
above 50 MB are left out. New tasks, comments, check marks and text edits wait in a queue and are sent when
the connection returns, for up to 14 days. Search covers only downloaded items meanwhile. Sharing, settings
and billing need a connection. The desktop app offers the same; the browser does not work offline.
""",
    "billing": """
## Plans and prices
Free costs nothing and is for up to 5 members. Starter costs $8 per member and month for up to 25 members.
Professional costs $16 per member and month for up to 250 members and adds webhooks, full archives and
required two-factor authentication. Enterprise starts at $32 per member and month with a yearly contract and
at least 50 seats, and adds single sign-on, SCIM, an audit log and the uptime guarantee. Paid by the year,
Starter is $80 and Professional $160 per member: two months free. Prices are net of tax. Guests are not
charged.

## Billing cycle and seats added mid-term
Your cycle starts on the day you buy and renews on the same date every month or year (on the last day of
shorter months). A seat added in between is charged pro rata for the days that are left and appears on the
next monthly invoice; on yearly plans it is charged at once. A seat you remove stays paid until the renewal,
then the bill gets smaller; there is no cash back for it. The seat count is reduced under Settings > Billing >
Seats; deactivating a person alone does not do it, so that you can fill the seat again.

## Paying by card, direct debit or bank transfer
We accept Visa, Mastercard and American Express for all paid plans, SEPA direct debit in euro countries, and
PayPal for yearly Starter and Professional. Bank transfer against an invoice, due in 30 days, is possible for
Enterprise and for yearly orders from $2,000. To replace an expired card, an owner or billing admin opens
Settings > Billing > Payment method > Replace; a test charge of $1 is made and given back. Charges read
TECHCORP WORKSPACE on the statement. Card numbers are kept by our payment provider, never by us: please do not
send one by email or WhatsApp.

## What happens when a payment fails
We try again 1, 3, 5 and 7 days after the first attempt, and the owners and billing admins get an email each
time. Nothing changes for your team in the first 14 days. After that the workspace becomes read-only and
saving shows TC-402; on day 30 it falls back to Free, and no data is deleted. To fix it, open Settings >
Billing, update the card or press Pay now: access returns within five minutes. Common reasons are an expired
card, the bank's limit and a missing 3-D Secure confirmation. Need more time? Ask support before day 14.

## Refunds and money-back periods
You can have the first payment of a monthly plan back within 14 days, and any yearly payment, a renewal too,
within 30 days of the charge. Later monthly charges, used add-ons and single removed seats are not refunded,
apart from double charges and our own mistakes, which are always returned. Ask by the web form or email from
the address of an owner, with the invoice number. We answer within 2 business days and send the money to the
original payment method; banks need 5 to 10 business days to show it. The workspace moves to Free at once.

## Upgrading or downgrading your plan
Owners and billing admins change it under Settings > Billing > Change plan. An upgrade works at once, and you
pay only the difference for the rest of the term. A downgrade takes effect at the next renewal and can be
withdrawn until then. Before it, the page lists what does not fit the smaller plan: too many members or
guests, storage above the limit, webhooks, required two-factor authentication. Whatever still exceeds it on
the day becomes read-only or is switched off, never deleted. Switching from monthly to yearly works at any
time, the other way round at the end of the year.

## Invoices, VAT and receipts
An invoice is issued on the day of each charge, mailed to the billing contacts, and kept as PDF for 10 years
under Settings > Billing > Invoices. Enter company name, address, purchase order number and VAT ID under
Settings > Billing > Tax details. Companies in the EU with a valid VAT ID pay no VAT (reverse charge); without
one, the rate of your country is added. US customers are charged sales tax by state unless an exemption
certificate was uploaded. A wrong address can be corrected for 60 days: press Reissue beside the invoice.

## Cancelling a subscription
An owner opens Settings > Billing > Cancel subscription, tells us why, and confirms. You can use everything
you paid for until the term ends; then the workspace moves to Free and no further charge is made. Cancel at
least one day before the renewal date to avoid the next payment. Until the last day you can press Resume
subscription. Cancelling deletes nothing: if you want your content erased, export it first and then delete the
workspace. Plans bought in the App Store or on Google Play are ended in that store. Enterprise needs notice of
30 days.
""",
    "account": """
## Resetting a forgotten password
On the sign-in page press "Forgot password?" and enter your email address. The link that we send is valid for
60 minutes and works once; ask for a new one when it has expired, at most five times an hour. A new password
needs 12 characters or more and must not be one of your last five. All other devices are signed out after the
change. No email? Look in spam and make sure that you used the address of your account: for privacy the page
says the same whether it exists or not. With single sign-on, your company resets it.

## Unlocking an account after failed sign-ins (TC-423)
After 10 wrong passwords or codes within 15 minutes the account is locked and TC-423 is shown. It opens by
itself after 30 minutes; a password reset opens it at once. Admins can do it for you: Settings > Members > the
person > Unlock. Repeated locks without your doing usually come from an old device or script that still uses a
former password, or from somebody guessing: see Profile > Security > Sign-in history and turn two-factor
authentication on. An account that shows "Suspended" was disabled by your workspace's admins, not by support.

## Changing the email address you sign in with
Open Profile > Account > Email, enter the new address and your password, and click the link that we send to
the new mailbox within 24 hours. Until then the old address stays in force, and it gets a notice with a link
that undoes the change for 7 days. Tasks, comments and memberships move along. You do not need access to the
old mailbox as long as you can sign in. If the address is "already in use", a second account has it: delete
that one or ask support to join the two. Addresses managed by SCIM are changed by your IT department.

## Two-factor authentication and lost codes
Turn it on under Profile > Security > Two-factor authentication, with an authenticator app (TOTP) or a
security key; codes by SMS are not offered. Save the 10 recovery codes: each replaces a code once. Lost your
phone? Sign in with a recovery code and register the new device. Without any code, an owner of your workspace
can press Settings > Members > the person > Reset 2FA; a sole owner proves identity to support, which takes up
to 3 business days. Professional and Enterprise can require 2FA of everybody; members then have 7 days to
enrol. If codes are refused, set the phone's clock to automatic.

## Single sign-on with SAML or OIDC (Enterprise)
Single sign-on (SSO) is part of Enterprise only. Verify your domain by a DNS TXT record under Settings >
Security > Domains, then choose SAML 2.0 or OpenID Connect under Settings > Security > Single sign-on and
exchange metadata with Okta, Microsoft Entra ID, Google or another provider. Test with one person before you
press Enforce; owners can always sign in by password and 2FA, as an emergency entrance. SCIM creates and
deactivates members automatically. TC-460 means that the response was rejected: expired certificate, wrong
audience, or clocks more than 3 minutes apart.

## Inviting teammates and removing members
Go to Settings > Members > Invite, type addresses or paste up to 100 lines, choose a role and send. An
invitation is valid for 7 days; use Resend if it expired or went to spam. On Starter and Professional an
accepted invitation takes a free seat or adds a charged one. Admins can let everybody with your company's
domain join by themselves. To remove a person choose Deactivate: sessions end at once, tasks and pages stay,
and you are asked who takes over open tasks. Deactivated people can be brought back with all their history.
Free is limited to 5 members.

## Roles and permissions
Owner: everything, billing and deletion of the workspace included; there may be several. Admin: members,
settings, integrations and all public projects, no billing. Billing admin: invoices and payment only. Member:
creates and edits in projects that are open to all or shared with them. Guest: sees only the projects they
were invited to and cannot create any. Change a role under Settings > Members. Private projects are hidden
even from admins until they are added. To hand over ownership, make the other person an owner first, then
lower yourself; the last owner cannot leave. TC-403 means that your role is not enough.

## Deleting your account or workspace (GDPR erasure)
Your account: Profile > Account > Delete account, confirmed by password. It is disabled at once and erased
after 30 days; signing in before that cancels it. What you wrote in a workspace stays there under "Former
member". A whole workspace is deleted by an owner under Settings > Workspace > Delete, can be recovered for 30
days, and leaves the backups 35 days later. Invoices are kept for 10 years as tax law demands. For a copy of
your data or another GDPR request write to privacy@techcorp.io; we verify who you are and reply within 30
days.
""",
    "general": """
## How to contact support and when we are there
Write to support@techcorp.io, send a WhatsApp message to the number shown under Help > Contact, or use the web
form at support.techcorp.io. People answer Monday to Friday, 08:00 to 20:00 UTC, except on 25 December and 1
January; our digital assistant answers on all channels at any hour and hands over to a colleague if it cannot
help. Enterprise has a line for critical cases around the clock. There is no general telephone support. Tell
us your workspace's name, what you did, the error code and the time, never a password.

## Response times by plan
You get a first reply from a person within these times. Free: 3 business days. Starter: 1 business day.
Professional: 8 business hours, and 4 for high priority. Enterprise: 4 business hours, and 1 hour at any time
of day for critical cases, with an update every 2 hours. Critical means that nobody in your workspace can work
or that data is at risk; high, that an important function fails without a way round; medium is the normal
case; low is a question or a wish. Agents set the priority by effect. Business hours are our opening hours.

## Following your ticket and its number
Each request gets a number such as TKT-0001, shown in the subject of our emails and in the confirmation of the
web form. To add something, reply to the same email or message; a new one may open a second ticket. See the
state at support.techcorp.io > My tickets: open (received), processing (somebody is on it), waiting (we need
an answer from you), escalated (a specialist has it), resolved and closed. If we hear nothing for 7 days while
waiting, we close it. Replying to a resolved or recently closed ticket reopens it; after 14 days a reply
starts a linked new one.

## Asking for escalation or making a complaint
If an answer does not help, reply to the ticket with the word "escalate" and say what is missing. A team lead
reads it within 4 business hours, takes the case over or names a specialist, and tells you the next step and
its date. Our assistant hands over by itself when someone asks for a human, is upset, or mentions legal
matters, refunds above $500 or a security problem. Complaints about our service go the same way and get a
written reply within 5 business days. Enterprise customers may also call their account manager. Escalating
never costs you anything.

## Status page, outages and maintenance
status.techcorp.io shows web app, API, mobile sync, notifications and integrations separately, for both
regions. During an incident it is updated every 30 minutes, and a report on the cause follows within 5
business days. Subscribe there by email, SMS or RSS. Planned maintenance is announced 7 days ahead and takes
place on Sundays between 02:00 and 04:00 UTC, mostly without interruption. Enterprise has a guarantee of 99.9
percent uptime a month: below it 10 percent of the month's fee is credited, below 99 percent 25 percent, if
you ask within 30 days.

## Reporting a security problem or a suspicious message
If you think that somebody else uses your account, change the password, press Profile > Security > Sign out
everywhere, and write to security@techcorp.io; a person looks at it within 1 hour, day and night. Forward
suspected phishing there as an attachment. Real mail from us ends in @techcorp.io and never asks for
passwords, recovery codes or card numbers. Researchers who found a weakness report it to the same address, get
a reply within 2 business days, and are not prosecuted when they act in good faith and leave other people's
data alone. Affected customers are told of a data breach within 72 hours.
""",
}


def upgrade() -> None:
    rows = [{**_inline(section), "source": op.inline_literal(SOURCE)} for section in sections()]
    op.execute(postgresql.insert(KNOWLEDGE_BASE).values(rows).on_conflict_do_nothing(index_elements=["id"]))


def downgrade() -> None:
    seeded = [sa.tuple_(*_inline(section).values()) for section in sections()]
    columns = KNOWLEDGE_BASE.c
    op.execute(
        sa.delete(KNOWLEDGE_BASE).where(
            sa.tuple_(columns.id, columns.title, columns.content, columns.category).in_(seeded),
            columns.source == op.inline_literal(SOURCE),
            sa.text("is_active"),
            # Contained in its own "embedding" entry: it holds nothing else, and no JSON shape is an error.
            sa.text("metadata <@ jsonb_build_object('embedding', metadata -> 'embedding')"),
        )
    )


def sections() -> Iterator[dict[str, str]]:
    """Yield every section as id, title, content and category, in this order."""
    for category, text in DOCUMENTATION.items():
        for section in text.split("## ")[1:]:
            title, _, body = section.partition("\n")
            yield {
                "id": str(uuid5(NAMESPACE_URL, f"https://support.techcorp.io/docs/{title}")),
                "title": title,
                "content": " ".join(body.split()),
                "category": category,
            }


def _inline(section: dict[str, str]) -> dict[str, sa.ColumnElement[str]]:
    """Render values as literals, so that ``--sql`` prints exactly what is executed online."""
    return {name: op.inline_literal(value) for name, value in section.items()}
