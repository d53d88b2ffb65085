"""For test suites, this project's and others': factories, PostgreSQL, and a query recorder.

The extra ``testing`` brings what it needs. The pytest fixtures are in ``app.testing.plugin``. Modules are
imported on first use, so that pytest can load the plugin without paying for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._factory import CRMFactory, bound_to
    from .embedding_factories import (
        EmbeddingModelFactory,
        EmbeddingQueueEntryFactory,
        KnowledgeEmbeddingFactory,
        MessageEmbeddingFactory,
        TicketEmbeddingFactory,
    )
    from .factories import (
        AgentMetricFactory,
        ChannelConfigFactory,
        ConversationFactory,
        ConversationRouteFactory,
        CustomerFactory,
        CustomerIdentifierFactory,
        EarlyDeliveryReportFactory,
        KnowledgeBaseEntryFactory,
        MessageFactory,
        OutboxEntryFactory,
        ProviderMessageFactory,
        TicketFactory,
        TicketLinkFactory,
        ToolCallFactory,
    )
    from .merge_factories import (
        CustomerMergeFactory,
        CustomerMergeForeignMoveFactory,
        CustomerMergeMoveFactory,
        CustomerRedirectFactory,
        IdentityEventFactory,
        LegalHoldFactory,
    )
    from .postgres import Databases, provision
    from .recorder import QueryRecorder

__all__ = [
    "AgentMetricFactory",
    "CRMFactory",
    "ChannelConfigFactory",
    "ConversationFactory",
    "ConversationRouteFactory",
    "CustomerFactory",
    "CustomerIdentifierFactory",
    "CustomerMergeFactory",
    "CustomerMergeForeignMoveFactory",
    "CustomerMergeMoveFactory",
    "CustomerRedirectFactory",
    "Databases",
    "EarlyDeliveryReportFactory",
    "EmbeddingModelFactory",
    "EmbeddingQueueEntryFactory",
    "IdentityEventFactory",
    "KnowledgeBaseEntryFactory",
    "KnowledgeEmbeddingFactory",
    "LegalHoldFactory",
    "MessageEmbeddingFactory",
    "MessageFactory",
    "OutboxEntryFactory",
    "ProviderMessageFactory",
    "QueryRecorder",
    "TicketEmbeddingFactory",
    "TicketFactory",
    "TicketLinkFactory",
    "ToolCallFactory",
    "bound_to",
    "provision",
]

_ELSEWHERE = {
    "CRMFactory": "_factory",
    "IdentityEventFactory": "merge_factories",
    "CustomerMergeFactory": "merge_factories",
    "CustomerMergeMoveFactory": "merge_factories",
    "CustomerMergeForeignMoveFactory": "merge_factories",
    "CustomerRedirectFactory": "merge_factories",
    "LegalHoldFactory": "merge_factories",
    "Databases": "postgres",
    "EmbeddingModelFactory": "embedding_factories",
    "EmbeddingQueueEntryFactory": "embedding_factories",
    "KnowledgeEmbeddingFactory": "embedding_factories",
    "MessageEmbeddingFactory": "embedding_factories",
    "TicketEmbeddingFactory": "embedding_factories",
    "QueryRecorder": "recorder",
    "bound_to": "_factory",
    "provision": "postgres",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f".{_ELSEWHERE.get(name, 'factories')}", __name__)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise ImportError(
            f"app.testing needs {missing}: pip install 'crm-digital-fte[testing]'", name=missing
        ) from error
    return getattr(module, name)
