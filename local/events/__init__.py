"""Sample events for the functions, as API Gateway, SQS, DynamoDB Streams and EventBridge send them.

`tests/events/*.json` are these events at one fixed time: a webhook's signature expires after five minutes, and no stack
has their Items. To invoke a function of the stack that `make local` runs, print a new event: it is for an Item of that
stack, that stack's Plaid signs it now, and its tokens and Link sessions exist.

    python -m local.events sync_batch_of_two_items | sam local invoke SyncFunction --config-env local --event -
"""

from local.events.samples import FOLDER, Samples, function_of
from local.events.subjects import SEED, WRITTEN_AT, FixedSubject, RunningSubject

__all__ = ["FOLDER", "SEED", "WRITTEN_AT", "FixedSubject", "RunningSubject", "Samples", "function_of"]
