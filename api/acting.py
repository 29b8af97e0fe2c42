"""Middleware that says who has a request done, to all that is called for it."""

from starlette.types import ASGIApp, Receive, Scope, Send

from anyseek.search.caller import ANYBODY, Caller, acting


class Acting:
    """Pure ASGI, inside `Guard`, which found out the key: log lines and the audit log tell the caller."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        caller = scope["state"]["caller"] = _caller(scope)
        with acting(caller):
            await self.app(scope, receive, send)


def _caller(scope: Scope) -> Caller:
    """Requests outside `/v1` are nobody's in particular."""
    key, client = scope["state"].get("key"), scope.get("client")
    who = ANYBODY if key is None else f"key:{key}"
    return Caller(who, client[0] if client else None, scope["state"]["request_id"])


def fields_of_caller(scope: Scope) -> dict[str, object]:
    """What the line of a request tells of its caller; the address alone if it was refused before."""
    known = scope["state"].get("caller") or _caller(scope)
    fields: dict[str, object] = known.fields()
    return fields
