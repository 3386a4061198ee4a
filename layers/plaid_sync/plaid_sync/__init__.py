"""The engine: the domain, one package or module per use case, and the adapters for AWS and Plaid."""
