"""Hostile input: to the webhook, to the queue's messages, and in what Plaid answers.

A case is a string of bytes, and every decision that makes an input of it is read from them (`Choices`): which body,
signed by whom, mutated how. So the same cases serve the coverage-guided fuzzer (`make fuzz`, which lets atheris search
for bytes that reach new code), the property tests (hypothesis, in `tests/unit/core/test_hostile_*.py`) and a
reproducer, which is a file of bytes. The code under test is the deployed one down to its adapters; only what lies
behind their clients is replaced (`edges`), and it refuses what the real service refuses.

What must hold is stated beside each kind of input, without asking the code under test:
`webhook` (`signing` for what Plaid has proven), `messages` and `answers`.
"""
