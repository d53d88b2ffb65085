"""What services take and return. Everything public is importable from here."""

from .backfill import Fate, NormalizationReport, Uncanonical
from .duplicates import DuplicateCandidate, Evidence, Signal
from .identity import Assurance, CustomerProfile, Identifier, IdentityPolicy, Outcome, Resolution
from .knowledge import ArticleSummary, DocumentProblem, FolderReport, IngestReport
from .merging import MergePlan, UnmergeReport
from .messages import Attachment, HistoryEntry, InboundMessage, Ingested, OutboundMessage
from .metrics import ChannelMetrics
from .pages import Cursor, Page
from .search import (
    AnyHit,
    EmbeddingStatus,
    Explanation,
    Hit,
    KnowledgeHit,
    MessageHit,
    ObjectType,
    SearchMode,
    TicketHit,
)
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
    "AnyHit",
    "ArticleSummary",
    "Assurance",
    "Attachment",
    "ChannelMetrics",
    "Cursor",
    "CustomerProfile",
    "DocumentProblem",
    "DuplicateCandidate",
    "EmbeddingStatus",
    "Evidence",
    "Explanation",
    "Fate",
    "FolderReport",
    "HistoryEntry",
    "HistoryFault",
    "HistoryFinding",
    "Hit",
    "Identifier",
    "IdentityPolicy",
    "InboundMessage",
    "IngestReport",
    "Ingested",
    "KnowledgeHit",
    "MergePlan",
    "MessageHit",
    "NormalizationReport",
    "ObjectType",
    "OutboundMessage",
    "Outcome",
    "Page",
    "RegressionKind",
    "Resolution",
    "SearchMode",
    "Signal",
    "Spread",
    "TicketGrouping",
    "TicketHit",
    "TicketLifecycle",
    "TicketRegression",
    "TicketReport",
    "TicketReportRow",
    "TicketSummary",
    "Uncanonical",
    "UnmergeReport",
]
