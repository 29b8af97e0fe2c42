"""Who asks, on the routes outside `/v1` that everybody may call and that tell some more than others."""

import anyio
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from api.errors import ServiceError
from api.security import Guardian, Scope

_SECONDS = 1.0


async def scope_of(request: Request) -> Scope | None:
    """The scope of whoever sends the request; None for a stranger, and where that cannot be found out at once.

    Beyond loopback a request without a key is a stranger's, so that nothing has to be looked up.
    """
    guardian: Guardian = request.app.state.guardian
    if not guardian.loopback and "authorization" not in request.headers:
        return None
    found = None
    with anyio.move_on_after(_SECONDS):
        try:
            found = (await guardian.admit(request.headers)).scope
        except (ServiceError, SQLAlchemyError):
            return None
    return found
