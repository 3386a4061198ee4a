"""The audit of one Item: its whole history at Plaid against the table, field by field, and nothing is changed."""
