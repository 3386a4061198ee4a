"""`endpoints`: where outbound webhooks are posted to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from plaid_sync.domain import exact_json
from plaid_sync.domain.clock import format_timestamp, utc_now
from plaid_sync.domain.errors import TransientError
from plaid_sync.outbound.endpoints import Endpoint
from plaid_sync.outbound.event import parse_event, signed_headers
from plaid_sync.posting import HttpPoster

from plaid_sync_cli.command import Context, DryRunOption, command
from plaid_sync_cli.dead_letters import replay
from plaid_sync_cli.endpoints import EndpointStore, event_id_of, new_secret, rotated, undelivered
from plaid_sync_cli.errors import CommandError, ExitCode, usage_error
from plaid_sync_cli.output import plural, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from plaid_sync_cli.dead_letters import DeadLetter

APP: Final = typer.Typer()
ENDPOINTS: Final = typer.Typer(no_args_is_help=True, help="Endpoints of yours that events are posted to, signed.")
APP.add_typer(ENDPOINTS, name="endpoints")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Your name for the endpoint: a-z, 0-9 and -.")]
_UNDELIVERED: Final = "undelivered event"
_SOON: Final = "The function uses it within a minute."


@command(ENDPOINTS, "set")
def set_endpoint(  # noqa: PLR0913 - each is an option
    context: Context,
    name: NameArgument,
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="https; a new endpoint needs it.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only this detail-type; repeat it for more.")
    ] = None,
    *,
    all_types: Annotated[bool, typer.Option("--all-types", help="Every detail-type.")] = False,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether new events are for it.")] = None,
) -> int:
    """Create or change an endpoint; what is not given stays. A new one gets a signing secret, shown this once.

    Example: `plaid-sync endpoints set books https://books.example.com/plaid --type SyncCompleted`
    """
    if types and all_types:
        raise usage_error("--all-types", "Give either --type or --all-types.")
    store = EndpointStore.of(context.deployment)
    endpoints = store.read()
    known = endpoints.get(name)
    if known is None and url is None:
        raise usage_error("URL is missing", f"There is no endpoint {name} yet: give its URL.")
    endpoint = known or Endpoint(name, str(url), (new_secret(),))
    endpoint = replace(
        endpoint,
        url=url or endpoint.url,
        types=() if all_types else tuple(types or endpoint.types),
        enabled=endpoint.enabled if enabled is None else enabled,
    )
    _require_https(context, endpoint.url)
    store.write({**endpoints, name: endpoint})
    document = _document(endpoint) | ({"secret": endpoint.secrets[0]} if known is None else {})
    lines = [f"The endpoint {name} is stored. {_SOON}"]
    lines += [f"Signing secret, not shown again: {endpoint.secrets[0]}"] if known is None else []
    context.output.show(document, lambda: lines)
    return ExitCode.OK


def _require_https(context: Context, url: str) -> None:
    if not context.target.local and not url.lower().startswith("https://"):
        raise usage_error("URL is not https", "The events hold money data: give an https URL. Nothing was changed.")


@command(ENDPOINTS, "list")
def list_endpoints(context: Context) -> int:
    """List the endpoints, and what they did not accept. Exit code 1 if that is anything.

    Example: `plaid-sync endpoints list`
    """
    endpoints = EndpointStore.of(context.deployment).read().values()
    letters = undelivered(context.deployment).peek()
    waiting = Counter((letter.group_id, letter.cause) for letter in letters)
    document = {
        "endpoints": [_document(endpoint) for endpoint in endpoints],
        "undelivered": [
            {"endpoint": name, "cause": cause, "events": number} for (name, cause), number in sorted(waiting.items())
        ],
    }
    context.output.show(document, lambda: _render(list(endpoints), waiting))
    return ExitCode.ACTION_REQUIRED if letters else ExitCode.OK


def _document(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "types": list(endpoint.types),
        "enabled": endpoint.enabled,
        "secrets": len(endpoint.secrets),
    }


def _render(endpoints: list[Endpoint], waiting: Counter[tuple[str, str]]) -> Iterator[RenderableType]:
    if not endpoints:
        yield "No endpoints: plaid-sync endpoints set NAME URL"
    else:
        rows = [
            (
                endpoint.name,
                endpoint.url,
                ", ".join(endpoint.types) or "all",
                "enabled" if endpoint.enabled else "disabled",
                f"{len(endpoint.secrets)}",
            )
            for endpoint in endpoints
        ]
        yield table("name", "URL", "types", "state", "secrets", right=["secrets"], rows=rows)
    if waiting:
        yield ""
        yield f"{plural(waiting.total(), _UNDELIVERED)}. Once the causes are fixed: plaid-sync endpoints resend"
        causes = [(name or "-", cause, f"{number:,}") for (name, cause), number in sorted(waiting.items())]
        yield table("endpoint", "cause", "events", right=["events"], rows=causes)


@command(ENDPOINTS, "remove")
def remove(context: Context, name: NameArgument) -> int:
    """Remove an endpoint. Deliveries that wait for it are dropped.

    Example: `plaid-sync endpoints remove books`
    """
    store = EndpointStore.of(context.deployment)
    endpoints = store.read()
    endpoint = _known(endpoints, name)
    del endpoints[name]
    store.write(endpoints)
    context.output.show(_document(endpoint), lambda: [f"The endpoint {name} is removed. {_SOON}"])
    return ExitCode.OK


@command(ENDPOINTS, "rotate")
def rotate(
    context: Context,
    name: NameArgument,
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Stop signing with the secret before the newest.")] = False,
) -> int:
    """Sign with a new secret, shown this once, and with the one before it until --finish.

    Example: `plaid-sync endpoints rotate books`
    """
    store = EndpointStore.of(context.deployment)
    endpoints = store.read()
    endpoint = _known(endpoints, name)
    endpoint = replace(endpoint, secrets=endpoint.secrets[:1]) if finish else rotated(endpoint)
    store.write({**endpoints, name: endpoint})
    document = _document(endpoint) | ({} if finish else {"secret": endpoint.secrets[0]})
    lines = [f"Only the newest secret of {name} signs. {_SOON}"]
    if not finish:
        lines = [
            f"Both secrets of {name} sign. {_SOON}",
            f"New signing secret, not shown again: {endpoint.secrets[0]}",
            f"Once the receiver has it: plaid-sync endpoints rotate {name} --finish",
        ]
    context.output.show(document, lambda: lines)
    return ExitCode.OK


@command(ENDPOINTS, "test")
def send_test(context: Context, name: NameArgument) -> int:
    """Post a signed event `EndpointTest` to an endpoint, from this machine.

    Example: `plaid-sync endpoints test books`
    """
    endpoint = _known(EndpointStore.of(context.deployment).read(), name)
    now = utc_now()
    detail = {"at": format_timestamp(now)}
    envelope = {"source": "plaid-sync-engine", "detail-type": "EndpointTest", "detail": detail}
    event = parse_event(exact_json.dumps(envelope))
    poster = HttpPoster(public_only=not context.target.local)
    try:
        answer = poster.post(endpoint.url, event.body.encode(), signed_headers(event, endpoint, now))
    except TransientError as error:
        raise CommandError(f"{name} did not answer: {error.code}", "Repair the endpoint, or set its URL.") from error
    delivered = answer.status // 100 == 2  # noqa: PLR2004 - 2xx
    text = f"{name} answered {answer.status}" + ("." if delivered else ": only 2xx is a delivery.")
    context.output.show({"name": name, "status": answer.status, "event_id": event.event_id}, lambda: [text])
    return ExitCode.OK if delivered else ExitCode.ACTION_REQUIRED


@command(ENDPOINTS, "resend")
def resend(
    context: Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only those of this endpoint.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", metavar="EVENT_ID", help="Only this event.")] = None,
    *,
    dry_run: DryRunOption = False,
) -> int:
    """Send events again that an endpoint did not accept, with their ids. Exit code 1 if any are left.

    Example: `plaid-sync endpoints resend books --dry-run`
    """
    EndpointStore.of(context.deployment)
    queue = undelivered(context.deployment)

    def selects(letter: DeadLetter) -> bool:
        return name in {None, letter.group_id} and event_id in {None, event_id_of(letter)}

    if dry_run:
        selected = [letter for letter in queue.peek() if selects(letter)]
        document: dict[str, Any] = {"would_resend": list(map(_letter, selected))}
        context.output.show(document, lambda: [f"Would resend {plural(len(selected), _UNDELIVERED)}."])
        return ExitCode.OK
    result = replay(queue, selects, None, lambda _: None)
    left = len(result.kept) + len(result.undeleted)
    document = {"resent": list(map(_letter, result.sent)), "left": left}
    more = f" {plural(left, _UNDELIVERED)} left." if left else ""
    context.output.show(document, lambda: [f"Resent {plural(len(result.sent), _UNDELIVERED)}.{more}"])
    return ExitCode.ACTION_REQUIRED if left else ExitCode.OK


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {"endpoint": letter.group_id or None, "event_id": event_id_of(letter) or None, "cause": letter.cause}


def _known(endpoints: dict[str, Endpoint], name: str) -> Endpoint:
    if name not in endpoints:
        known = ", ".join(sorted(endpoints)) or "none"
        raise usage_error(f"there is no endpoint {name}", f"Endpoints: {known}.")
    return endpoints[name]
