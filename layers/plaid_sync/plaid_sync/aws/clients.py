"""AWS clients with short timeouts, and AWS failures as the engine's errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from plaid_sync.domain.clock import Deadline
from plaid_sync.domain.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

_CONFIG: Final = Config(
    # botocore waits a minute by default; inside a Lambda function that is the whole invocation. A call takes twelve
    # seconds at most, and the functions' timeouts and reserves of time count on it.
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
)
WEBHOOK_CONFIG: Final = Config(
    # Plaid waits ten seconds for a response: two tries of under two.
    connect_timeout=0.5,
    read_timeout=1.4,
    retries={"mode": "standard", "total_max_attempts": 2},
)
ITEMS_CONFIG: Final = Config(
    # Between the exchange of a public token and the end of the function a rollback must fit, each call at its slowest
    # (see linking.service.EXCHANGE_SECONDS): two tries, nine seconds at most.
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
)
INVOKE_CONFIG: Final = Config(
    # The webhook function waits for the items function in the rest of its nine seconds, and never invokes it twice:
    # Plaid sends the webhook again.
    connect_timeout=0.5,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 1},
)
RECORD_CONFIG: Final = Config(
    # The webhook function reads and writes what its processes share before the SQS call, and does without it; what is
    # published it writes to the history, or Plaid sends the webhook again.
    connect_timeout=0.3,
    read_timeout=0.7,
    retries={"mode": "standard", "total_max_attempts": 1},
)


_LEAN: Final = Config(parameter_validation=False, user_agent="plaid-sync-engine")
"""AWS validates each request itself: botocore's own check is a third of the CPU time of a write. And its user agent is
put together for each call, a tenth of the CPU time of a small one."""


session: Any = get_session()
"""botocore's, not boto3's, whose clients are the same: its import costs each cold start more."""


def client(service: str, config: Config = _CONFIG) -> Any:  # noqa: ANN401 - one factory for six client types
    """Return a client; region and endpoint come from the SDK's own environment."""
    return session.create_client(service, config=config.merge(_LEAN))


def deadline_of(context: LambdaContext) -> Deadline:
    """Return when Lambda ends the invocation."""
    return Deadline(lambda: context.get_remaining_time_in_millis() / 1000)


@contextmanager
def aws_errors() -> Iterator[None]:
    """Raise every failure of AWS or the network as a `TransientError` with AWS's error code."""
    try:
        yield
    except ClientError as error:
        raise TransientError(error_code(error)) from error
    except BotoCoreError as error:
        raise TransientError(type(error).__name__) from error


def error_code(error: ClientError) -> str:
    """Return AWS's error code."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))
