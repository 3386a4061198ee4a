"""The engine without each of its guards, one at a time: something must notice.

`python -m tests.mutants` (or `make mutants`) applies each change of `guards_*.toml` to a copy of the project and runs
what should catch it. The model does the same to the protocol (`tests/model`); here it is the code that is changed.
"""
