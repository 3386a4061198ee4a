"""The demo: deploys the template onto an emulated AWS, drives it over HTTP with a local Plaid, and compares the rows.

`steps.py` is the script, from the first link to the last forged webhook. `run.py` is what the steps use.
"""
