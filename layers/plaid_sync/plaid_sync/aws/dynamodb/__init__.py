"""DynamoDB adapters: one module per table."""
