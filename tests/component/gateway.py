"""API Gateway's HTTP API in this process: HTTP requests become events (payload 2.0), answers become HTTP responses.

A WSGI application, so that whatever drives one can drive the handlers. What is not a route is answered 404, and every
caller has signed: who may call what is API Gateway's own business, and asked over HTTP in `test_api_over_http.py`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from werkzeug import Request, Response

from tests.component.world import http_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from tests.component.world import World

Handler = Callable[[dict[str, Any]], dict[str, Any]]

WEBHOOK: Final = "POST /webhooks/plaid"
_TEXT: Final = re.compile(r"text/|application/(json|javascript|xml|[\w.-]+\+(json|xml))")


@dataclass(frozen=True, slots=True)
class Gateway:
    """An HTTP API.

    Attributes:
        routes: what answers a route key, `GET /items/{item_id}`.
    """

    routes: Mapping[str, Handler]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application does; what a handler raises comes out as it is."""
        request = Request(environ)
        for route, handler in self.routes.items():
            method, template = route.split(" ")
            parameters = _path_parameters(template, request.path)
            if method == request.method and parameters is not None:
                answer = handler(event_of(request, route, parameters))
                return Response(answer["body"], answer["statusCode"], answer["headers"])(environ, start_response)
        message = Response('{"message":"Not Found"}', HTTPStatus.NOT_FOUND, content_type="application/json")
        return message(environ, start_response)


def gateway_of(world: World, routes: Iterable[str]) -> Gateway:
    """Return an HTTP API whose routes lead to a world's functions."""
    world.restart_webhook_function()

    def webhook(event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = world.invoke("webhook", event)
        return answer

    return Gateway({route: webhook if route == WEBHOOK else world.call_items for route in routes})


def event_of(request: Request, route: str, path_parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the event that a request becomes."""
    query = request.query_string.decode("latin-1")
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    joined = {name: ",".join(several) for name, several in values.items()}
    text, encoded = _body(request)
    event = http_event(request.method, request.path, text, joined, route)
    event |= {
        "rawQueryString": query,
        "headers": {name.lower(): value for name, value in request.headers},
        "isBase64Encoded": encoded,
    }
    return event | ({"pathParameters": dict(path_parameters)} if path_parameters else {})


def _body(request: Request) -> tuple[str, bool]:
    """Return the body, and whether it is in Base64: where its type is not one of texts."""
    data = request.get_data()
    if _TEXT.match(request.content_type or ""):
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode(), True


def _path_parameters(template: str, path: str) -> dict[str, str] | None:
    """Return the path's parameters, if it is one of the template's."""
    found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template), path, re.DOTALL)
    return None if found is None else found.groupdict()
