"""The crossbar router: its configuration, starting, stopping and health."""
