"""The command line: `python -m local.plaid --help`."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import signal
import sys
import threading
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from local.plaid import control
from local.plaid.behavior import Behavior
from local.plaid.clock import OffsetClock
from local.plaid.endpoints import ENDPOINTS
from local.plaid.server import PlaidServer
from local.plaid.simulator import PlaidSimulator

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT_PORT = 8700
_EPILOG = "Control API (JSON, without credentials):\n  " + "\n  ".join(control.describe())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.plaid",
        description="Plaid on localhost: Items whose transactions change, cursors, signed webhooks, injected faults.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=_DEFAULT_PORT, help="0 chooses a free port (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="seed of all random choices (default: %(default)s)")
    parser.add_argument("--client-id", default="local-client-id", help="default: %(default)s")
    parser.add_argument("--secret", default="local-secret", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the startup message as JSON")
    parser.add_argument("--link", type=int, default=0, metavar="N", help="link N Items at startup")
    parser.add_argument("--webhook-url", metavar="URL", help="webhook URL of those Items")
    switches = parser.add_argument_group("behavior", "see local/plaid/behavior.py")
    texts = _switch_texts()
    for switch in fields(Behavior):
        _add_switch(switches, switch.name, switch.default, texts[switch.name])
    return parser


def _switch_texts() -> dict[str, str]:
    """Return the help text of every switch, from the docstring of `Behavior`."""
    described = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(Behavior) or "", re.MULTILINE)
    return {name: " ".join(text.split()).replace("%", "%%") for name, text in described}


def _add_switch(group: argparse._ArgumentGroup, name: str, default: object, text: str) -> None:
    flag = "--" + name.replace("_", "-")
    if isinstance(default, bool):
        group.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
    else:
        parse = _seconds if name in ("initial_seconds", "historical_seconds") else type(default)
        group.add_argument(flag, type=parse, default=default, metavar="N", help=f"{text} (default: %(default)s)")


def _seconds(text: str) -> float | None:
    """Parse a number of seconds, or `never`: then only /_sim/items/…/advance advances the history."""
    return None if text == "never" else float(text)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    switches = {switch.name: getattr(options, switch.name) for switch in fields(Behavior)}
    sim = PlaidSimulator(
        options.seed, OffsetClock(), options.client_id, options.secret, replace(Behavior(), **switches)
    )
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with PlaidServer(sim, options.port, options.host) as server:
        linked = [sim.link_item(options.webhook_url) for _ in range(options.link)]
        items = [{"item_id": item.item_id, "access_token": item.access_token} for item in linked]
        if options.json:
            startup = {"base_url": server.base_url, "client_id": sim.client_id, "secret": sim.secret, "items": items}
            print(json.dumps(startup), flush=True)
        else:
            print(_welcome(server.base_url, sim, items), flush=True)
        stopped.wait()
    return 0


def _welcome(base_url: str, sim: PlaidSimulator, items: Sequence[dict[str, str]]) -> str:
    credentials = f'"client_id": "{sim.client_id}", "secret": "{sim.secret}"'
    example = (
        f"curl -s {base_url}/sandbox/public_token/create -H 'Content-Type: application/json' \\\n"
        f'    -d \'{{{credentials}, "institution_id": "ins_109508", "initial_products": ["transactions"]}}\''
    )
    lines = [
        f"Plaid is at {base_url} (client_id {sim.client_id}, secret {sim.secret}). Ctrl-C stops it.",
        *(f"Item {item['item_id']}: {item['access_token']}" for item in items),
        "",
        "POST " + "\nPOST ".join(sorted(ENDPOINTS)),
        "",
        *control.describe(),
        "",
        example,
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
