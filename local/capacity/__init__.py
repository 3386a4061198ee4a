"""How much the deployed system carries: a discrete-event simulation of it, by `python -m local.capacity`.

`system.py` is the model: the webhook's way through API Gateway, the FIFO queue, the workers, Plaid and DynamoDB, and
the sweep. `stations.py` has how long each step takes, on AWS or on the local stack; `resources.py` has what limits it.
The figures are in docs/capacity.toml, and the results in docs/capacity.md.
"""
