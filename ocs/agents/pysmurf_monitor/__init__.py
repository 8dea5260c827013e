"""The pysmurf monitor: announced files become rows of the transfer database, each once."""
