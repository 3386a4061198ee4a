"""Sample events for the functions: what API Gateway, SQS, DynamoDB and EventBridge hand to them.

`tests/events/*.json` are written by this program for one fixed moment. A webhook's signature is good for five minutes,
and no stack knows their Items. To invoke a function of the stack that `make local` keeps up, print an event anew: it is
about an Item of that stack, signed now by that stack's Plaid, with tokens and Link sessions that exist.

    python -m local.events sync_batch_of_two_items | sam local invoke SyncFunction --config-env local --event -
"""

from local.events.fixed import SEED, WRITTEN_AT, FixedSubject
from local.events.samples import FOLDER, Samples

__all__ = ["FOLDER", "SEED", "WRITTEN_AT", "FixedSubject", "Samples"]
