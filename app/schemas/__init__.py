"""What services take and return. Everything public is importable from here."""

from .backfill import Fate, NormalizationReport, Uncanonical
from .duplicates import DuplicateCandidate, Evidence, Signal
from .identity import Assurance, CustomerProfile, Identifier, IdentityPolicy, Outcome, Resolution
from .knowledge import ArticleSummary, DocumentProblem, FolderReport, IngestReport, KnowledgeHit
from .merging import MergePlan, UnmergeReport
from .messages import Attachment, HistoryEntry, InboundMessage, Ingested, OutboundMessage
from .metrics import ChannelMetrics
from .pages import Cursor, Page
from .tickets import (
    HistoryFault,
    HistoryFinding,
    RegressionKind,
    Spread,
    TicketGrouping,
    TicketLifecycle,
    TicketRegression,
    TicketReport,
    TicketReportRow,
    TicketSummary,
)

__all__ = [
    "ArticleSummary",
    "Assurance",
    "Attachment",
    "ChannelMetrics",
    "Cursor",
    "CustomerProfile",
    "DocumentProblem",
    "DuplicateCandidate",
    "Evidence",
    "Fate",
    "FolderReport",
    "HistoryEntry",
    "HistoryFault",
    "HistoryFinding",
    "Identifier",
    "IdentityPolicy",
    "InboundMessage",
    "IngestReport",
    "Ingested",
    "KnowledgeHit",
    "MergePlan",
    "NormalizationReport",
    "OutboundMessage",
    "Outcome",
    "Page",
    "RegressionKind",
    "Resolution",
    "Signal",
    "Spread",
    "TicketGrouping",
    "TicketLifecycle",
    "TicketRegression",
    "TicketReport",
    "TicketReportRow",
    "TicketSummary",
    "Uncanonical",
    "UnmergeReport",
]
