"""Steps of the demo: webhooks that are duplicated, late, reordered, lost, repeated and forged."""

from __future__ import annotations

import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from local.demo.forgeries import forgeries_of, invented_keys
from local.demo.report import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.demo.run import Run
    from local.plaid import Delivery

KEY_PATH = "/webhook_verification_key/get"
KEY_OVERLAP_SECONDS = 10  # for webhooks on their way that the old key has signed
_MAX_KEY_LOOKUPS = 120  # a minute, of the whole stack
_ANSWERS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS}  # looked up, or not


def webhooks_go_astray(run: Run) -> None:
    """Change all Items at random while webhooks are disturbed, in a different way each time."""
    disturbances = (_duplicated, _delayed_and_reordered, _newest_first, _new_key)
    steps = max(1, run.options.steps // (len(disturbances) + 1))
    for disturb in disturbances:
        disturb(run, steps)
        run.settle()
        run.plaid.configure(spell_out=not run.plaid.behavior.spell_out)
    _lost(run, steps)


def _duplicated(run: Run, steps: int) -> None:
    run.say("webhooks arrive twice")
    with _behaving(run, webhook_duplicates=0.7):
        _evolve(run, steps)
    run.happened["webhooks duplicated"] += 1


def _delayed_and_reordered(run: Run, steps: int) -> None:
    run.say("webhooks arrive late and overtake each other")
    with _behaving(run, webhook_delay=0.3, webhook_reorder=0.5, webhook_reorder_seconds=0.7):
        _evolve(run, steps)
    run.happened["webhooks delayed"] += 1


def _newest_first(run: Run, steps: int) -> None:
    run.plaid.hold_webhooks()
    _evolve(run, steps)
    held = run.plaid.release_webhooks("lifo")
    run.say(f"{held} webhooks were held back and arrive at once, the newest first")
    run.happened["webhooks reordered"] += held


def _new_key(run: Run, steps: int) -> None:
    _evolve(run, steps // 2)
    run.plaid.rotate_keys(KEY_OVERLAP_SECONDS)
    run.say("Plaid signs webhooks with a new key")
    _evolve(run, steps - steps // 2)
    run.happened["keys rotated"] += 1


def _lost(run: Run, steps: int) -> None:
    """Lose every webhook for a while; the next one of each Item must bring all changes."""
    with _behaving(run, webhook_loss=1.0):
        _evolve(run, steps)
    lost = sum(delivery.state == "lost" for delivery in run.plaid.webhooks())
    missing = sum(run.missing_changes(item_id) for item_id in run.items)
    run.happened[LOST] += lost
    run.say(f"{lost} webhooks are lost: the table misses {missing} changes")
    run.expect("changes whose webhooks are lost are not stored yet", met=missing > 0)
    for item_id in run.items:
        run.plaid.add(item_id)
    run.settle()
    missing = sum(run.missing_changes(item_id) for item_id in run.items)
    run.say(f"after the next webhook of each Item: the table misses {missing} changes")
    run.expect("the next webhook brings what lost ones announced", met=missing == 0)


def _evolve(run: Run, steps: int) -> None:
    """Change every Item at random, in bursts with webhooks, while earlier changes are synced."""
    while steps > 0:
        burst = min(steps, run.rng.randint(1, 8))
        for item_id in run.items:
            count = run.plaid.evolve(item_id, steps=burst)
            run.happened.update({f"random {name}": times for name, times in count.items()})
        steps -= burst


@contextmanager
def _behaving(run: Run, **switches: Any) -> Iterator[None]:  # noqa: ANN401 - the fields of Behavior
    former = run.plaid.behavior
    run.plaid.configure(**switches)
    try:
        yield
    finally:
        run.plaid.configure(**{name: getattr(former, name) for name in switches})


def webhooks_are_repeated(run: Run) -> None:
    """Deliver a webhook again, which counts once, and one with an equal body 90 seconds later, which counts too."""
    run.settle()
    genuine = _latest_webhook(run)
    before = run.look().messages
    response = run.application.post_webhook(genuine.body, genuine.attempts[-1].token)
    messages = run.settle().messages - before
    run.say(f"a genuine webhook again, byte for byte: {response.status}, {messages} messages in the queue")
    run.expect("an exact duplicate gets 200 and leads to no sync", met=(response.status, messages) == (200, 0))
    item_id, now = str(genuine.payload["item_id"]), time.time()
    before = run.look().messages
    for signed_at in (now - 90, now):
        run.plaid.add(item_id, 2, notify=False)
        run.application.post_webhook(genuine.body, run.plaid.sign(genuine.body, signed_at))
        run.settle()
    messages, missing = run.look().messages - before, run.missing_changes(item_id)
    run.say(f"two webhooks with equal bodies, signed 90 s apart: {messages} messages, {missing} changes missing")
    run.expect("equal bodies signed 90 s apart both lead to a sync", met=(messages, missing) == (2, 0))


def webhooks_are_forged(run: Run) -> None:
    """Post forged webhooks: each gets 401 for its own reason, or 429 in a flood, and none reaches the queue."""
    run.settle()
    genuine, messages, rejected = _latest_webhook(run), run.totals.messages, run.totals.webhooks["rejected"]
    for forgery in forgeries_of(run.plaid, genuine):
        response = run.application.post_webhook(forgery.body, forgery.token)
        run.say(f"  webhook {forgery.name}: {response.status} {response.text}")
        met = (response.status, response.text) == (HTTPStatus.UNAUTHORIZED, forgery.reason)
        run.expect(f"a webhook {forgery.name} gets 401 {forgery.reason}", met=met)
        run.happened["forged"] += 1
    _invent_keys(run, genuine, 300)
    run.settle()
    messages, rejected = run.totals.messages - messages, run.totals.webhooks["rejected"] - rejected
    run.say(f"{rejected} forged webhooks: {messages} messages in the queue")
    run.expect("no forged webhook reaches the queue", met=messages == 0)


def _invent_keys(run: Run, genuine: Delivery, count: int) -> None:
    before, first_minute = run.plaid.calls[KEY_PATH], time.time() // 60
    for forgery in invented_keys(run.plaid, genuine, count):
        response = run.application.post_webhook(forgery.body, forgery.token)
        run.expect("a webhook with an invented key gets 401 or 429", met=response.status in _ANSWERS)
        run.happened["forged"] += 1
    calls = run.plaid.calls[KEY_PATH] - before
    run.say(f"  {count} webhooks with invented key ids: 401 or 429 each, with {calls} calls to Plaid in all")
    minutes = 1 + time.time() // 60 - first_minute  # the end of one and the beginning of the next have both their share
    run.expect("invented keys lead to few calls to Plaid", met=calls <= _MAX_KEY_LOOKUPS * minutes)


def _latest_webhook(run: Run) -> Delivery:
    return next(
        delivery
        for delivery in reversed(run.plaid.webhooks())
        if delivery.state == "delivered" and delivery.payload["webhook_code"] == "SYNC_UPDATES_AVAILABLE"
    )
