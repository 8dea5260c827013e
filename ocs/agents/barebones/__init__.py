"""The barebones agent: the example that a new agent starts from."""
