"""Outbound webhooks: events that are posted to the operator's endpoints, signed by Standard Webhooks."""
