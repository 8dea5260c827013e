"""The host manager: keeps all agents of a machine as they should be."""
