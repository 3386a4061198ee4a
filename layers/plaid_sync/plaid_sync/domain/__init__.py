"""What all use cases share: types and pure rules. Imports nothing else of ours, no AWS, no Plaid client, no HTTP."""
