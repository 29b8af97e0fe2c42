"""What the sender's API key stores, and how much it may store."""

from fastapi import APIRouter

from anyseek.api.dependencies import ServiceDependency, requires
from anyseek.api.quotas.schemas import QuotaAnswer
from anyseek.api.security import Scope
from anyseek.search.caller import caller
from anyseek.search.catalogue import quotas
from anyseek.search.catalogue.quotas import NO_QUOTA, Usage

router = APIRouter(prefix="/v1/quota", tags=["quotas"], dependencies=[requires(Scope.READ)])


@router.get("")
def get_quota(service: ServiceDependency) -> QuotaAnswer:
    """How many items and bytes count for the key of this request, and the most of each."""
    key = caller().key
    if key is None:
        return QuotaAnswer.of(None, Usage(0, 0), NO_QUOTA)
    with service.runtime.database.read() as session:
        return QuotaAnswer.of(key, quotas.usage(session, key), quotas.of_key(session, key))
