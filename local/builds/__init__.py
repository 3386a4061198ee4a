"""What `sam build` built: its hash, and its sizes and imports against their budgets."""
