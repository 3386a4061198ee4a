"""The demo: the deployed template driven over HTTP through everything that Plaid does, then compared row by row."""
