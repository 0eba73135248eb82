"""Access keys, tokens and the audit log in the admin API."""

import time
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import documents, requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.access_keys import KeyMode
from skep.configserver.model.refusals import InvalidRequest
from skep.configserver.model.rights import AccessRole, AccessToken, parse_role


class AdminAccessApi:
    """The calls on access keys are Apollo's; those on tokens and the audit log are ours."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._desk = context.desk

    def routes(self) -> list[Route]:
        """Return the routes."""
        keys = "/apps/{app_id}/accesskeys"
        key = f"{keys}/{{key_id:row}}"
        return [
            Route(keys, self.keys),
            Route(keys, self.create_key, methods=["POST"]),
            Route(key, self.delete_key, methods=["DELETE"]),
            Route(f"{key}/enable", self.enable_key, methods=["PUT"]),
            Route(f"{key}/disable", self.disable_key, methods=["PUT"]),
            Route("/tokens", self.tokens),
            Route("/tokens", self.create_token, methods=["POST"]),
            Route("/tokens/{name}", self.revoke_token, methods=["DELETE"]),
            Route("/audit", self.audit),
        ]

    async def keys(self, request: Request) -> Response:
        """Answer the access keys of an app, with their secrets."""
        actor = self._context.guard.actor(request)
        found = self._desk.view.keys(actor, request.path_params["app_id"])
        return JSONResponse([documents.access_key(key) for key in found])

    async def create_key(self, request: Request) -> Response:
        """Make an access key, disabled at first; answer it."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        name = requests.text(body, "dataChangeCreatedBy", requests.OPERATOR)
        secret = requests.text(body, "secret", needed=False)
        actor, app_id = replace(actor, name=name), request.path_params["app_id"]
        made = await self._context.write(self._desk.access.create_key, actor, app_id, secret)
        return JSONResponse(documents.access_key(made))

    async def enable_key(self, request: Request) -> Response:
        """Enable a key: `mode` is 0 to refuse what it did not sign, 1 only to observe."""
        actor = self._context.operator(request)
        mode, path = requests.number(request, "mode", 0), request.path_params
        if mode not in (0, 1):
            raise InvalidRequest(f"The parameter `mode` must be 0 or 1, not {mode}.")
        act = self._desk.access.enable_key
        await self._context.write(
            act, actor, path["app_id"], requests.path_id(request, "key_id"), KeyMode(mode)
        )
        return Response()

    async def disable_key(self, request: Request) -> Response:
        """Disable a key."""
        actor = self._context.operator(request)
        path = request.path_params
        act = self._desk.access.disable_key
        await self._context.write(act, actor, path["app_id"], requests.path_id(request, "key_id"))
        return Response()

    async def delete_key(self, request: Request) -> Response:
        """Delete a disabled key."""
        actor = self._context.operator(request)
        path = request.path_params
        act = self._desk.access.delete_key
        await self._context.write(act, actor, path["app_id"], requests.path_id(request, "key_id"))
        return Response()

    async def tokens(self, request: Request) -> Response:
        """Answer all tokens, without their texts."""
        actor = self._context.guard.actor(request)
        return JSONResponse([_token(token) for token in self._desk.view.tokens(actor)])

    async def create_token(self, request: Request) -> Response:
        """Make a token with a `name`, `roles` by app id and `days` to live; answer its text, which
        is not kept."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        roles, days = body.get("roles"), body.get("days", 0)
        if not isinstance(roles, dict) or not all(isinstance(r, str) for r in roles.values()):
            raise InvalidRequest('The field `roles` must be an object like {"*":"read"}.')
        if type(days) not in (int, float) or not 0 <= days <= 36_500:
            raise InvalidRequest("The field `days` must be 0 (for ever) to 36500.")
        text = await self._context.write(
            self._desk.access.create_token,
            actor,
            requests.text(body, "name"),
            {app_id: parse_role(role) for app_id, role in roles.items()},
            round((time.time() + days * 86_400) * 1000) if days else 0,
        )
        return JSONResponse({"token": text})

    async def revoke_token(self, request: Request) -> Response:
        """Revoke a token."""
        actor = self._context.guard.actor(request)
        await self._context.write(
            self._desk.access.revoke_token, actor, request.path_params["name"]
        )
        return Response()

    async def audit(self, request: Request) -> Response:
        """Answer the audit log, of one `appId` if it is given, the newest first; `before` is the id
        of the last entry of the page before."""
        actor = self._context.guard.actor(request)
        _, size = requests.page(request, 50)
        app_id, before = (
            request.query_params.get("appId", ""),
            requests.number(request, "before", 0),
        )
        found = self._desk.view.audit(actor, app_id, size, before)
        return JSONResponse([documents.audit_entry(entry) for entry in found])


def _token(token: AccessToken) -> dict[str, Any]:
    roles: dict[str, AccessRole] = dict(token.grants)
    return {
        "name": token.name,
        "roles": {app_id: role.name.lower() for app_id, role in roles.items()},
        "createdBy": token.created_by,
        "createdTime": documents.moment(token.created_at),
        "expires": documents.moment(token.expires_at) if token.expires_at else None,
        "revoked": documents.moment(token.revoked_at) if token.revoked_at else None,
    }
