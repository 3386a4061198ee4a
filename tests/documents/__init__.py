"""The commands and programs of the documents that a new user follows, and how the tests run them."""
