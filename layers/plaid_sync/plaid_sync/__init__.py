"""The engine: a pure core, the ports it needs, and the AWS and Plaid adapters behind them."""
