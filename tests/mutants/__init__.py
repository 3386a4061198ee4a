"""Mutation tests of the guards of the protocol and of verification: each is taken out, and a test must fail.

`make mutants` runs them; `guards` lists them; `mutation` finds a guard in the engine by function and syntax tree.
`make mutmut` mutates mechanically.
"""
