"""The pure core: decisions only. Nothing here imports boto3, plaid or powertools."""
