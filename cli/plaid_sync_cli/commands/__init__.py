"""The commands of `plaid-sync`, by topic; `app` registers them."""
