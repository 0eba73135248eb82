"""The rules of namespaces in the Open API: calls of ours."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skep.configserver.http import requests
from skep.configserver.http.editing_context import EditingContext
from skep.configserver.model.publish_policy import PublishPolicy
from skep.configserver.model.refusals import InvalidRequest


class PoliciesApi:
    """Reading and setting the rules that a publish must follow, and what would break them."""

    def __init__(self, context: EditingContext) -> None:
        self._context = context
        self._policies = context.desk.policies

    def routes(self, namespace: str) -> list[Route]:
        """Return the routes below the path of a namespace."""
        return [
            Route(f"{namespace}/policy", self.policy),
            Route(f"{namespace}/policy", self.replace, methods=["PUT"]),
            Route(f"{namespace}/release-check", self.check),
        ]

    async def policy(self, request: Request) -> Response:
        """Answer the rules of a namespace."""
        actor = self._context.guard.actor(request)
        return JSONResponse(document(self._policies.policy(actor, requests.address(request))))

    async def replace(self, request: Request) -> Response:
        """Replace the rules of a namespace; a rule that the body leaves out is removed."""
        actor = self._context.guard.actor(request)
        body = await self._context.json_object(request)
        at = requests.address(request)
        await self._context.write(self._policies.set, actor, at, _policy(body))
        return Response()

    async def check(self, request: Request) -> Response:
        """Answer the rules that a publish of the items would break now."""
        actor, at = self._context.guard.actor(request), requests.address(request)
        found = await self._context.write(self._policies.faults, actor, at)
        return JSONResponse({"faults": [{**asdict(one), "message": str(one)} for one in found]})


def document(policy: PublishPolicy) -> dict[str, Any]:
    """Return the rules as the API shows them."""
    return {
        "schema": policy.schema,
        "required": list(policy.required),
        "approval": policy.approval,
    }


def _policy(body: dict[str, Any]) -> PublishPolicy:
    unknown = body.keys() - {"schema", "required", "approval"}
    if unknown:
        raise InvalidRequest(f"A policy has no field {sorted(unknown)[0]!r}.")
    if not isinstance(body.get("approval", False), bool):
        raise InvalidRequest("The field `approval` must be true or false.")
    return PublishPolicy(
        requests.text(body, "schema", needed=False),
        tuple(requests.texts_of(body, "required")),
        body.get("approval", False),
    )
