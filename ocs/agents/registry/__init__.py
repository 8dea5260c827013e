"""The registry agent: who is alive, and the state of every operation."""
