"""Factories of what identity and merges leave behind."""
# factory_boy says that it is typed, and is not:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from factory.declarations import (
    LazyAttributeSequence,
    LazyFunction,
    SelfAttribute,
)

from .. import models
from ..models import (
    IdentityEventType,
)
from ._factory import CRMFactory, owner
from .factories import CustomerFactory


class IdentityEventFactory(CRMFactory[models.IdentityEvent]):
    class Meta:
        model = models.IdentityEvent

    class Params:
        customer = owner("customer_id", models.Customer, CustomerFactory)

    customer_id = None
    event = IdentityEventType.CREATED
    actor = "ai:support-agent"


class CustomerMergeFactory(CRMFactory[models.CustomerMerge]):
    """The record alone, of an absorbed customer who had nothing to move; ``merging.merge`` does the work."""

    class Meta:
        model = models.CustomerMerge

    class Params:
        survivor = owner("survivor_id", models.Customer, CustomerFactory)

    survivor_id = None
    absorbed_id = LazyFunction(models.uuid7)
    actor = "human:7"
    reason = "the same person"
    absorbed = LazyAttributeSequence(
        lambda row, n: {"id": str(row.absorbed_id), "email": f"absorbed{n}@example.com"}
    )


class CustomerMergeMoveFactory(CRMFactory[models.CustomerMergeMove]):
    class Meta:
        model = models.CustomerMergeMove

    class Params:
        merge = owner("merge_id", models.CustomerMerge, CustomerMergeFactory)

    merge_id = None
    table_name = "messages"
    row_id = LazyFunction(models.uuid7)


class CustomerMergeForeignMoveFactory(CRMFactory[models.CustomerMergeForeignMove]):
    class Meta:
        model = models.CustomerMergeForeignMove

    class Params:
        merge = owner("merge_id", models.CustomerMerge, CustomerMergeFactory)

    merge_id = None
    schema_name = "billing"
    table_name = "invoices"
    column_name = "customer_id"
    row_key = LazyFunction(lambda: {"id": str(models.uuid7())})


class CustomerRedirectFactory(CRMFactory[models.CustomerRedirect]):
    """The redirect that ``merge`` left."""

    class Meta:
        model = models.CustomerRedirect

    class Params:
        merge = owner("merge_id", models.CustomerMerge, CustomerMergeFactory)

    merge_id = None
    absorbed_id = SelfAttribute("merge.absorbed_id")
    customer_id = SelfAttribute("merge.survivor_id")


class LegalHoldFactory(CRMFactory[models.LegalHold]):
    class Meta:
        model = models.LegalHold

    class Params:
        customer = owner("customer_id", models.Customer, CustomerFactory)

    customer_id = None
    actor = "human:7"
    reason = "A court has asked for it."
