"""The agent service: components spawned and killed on any machine of a site, over protected HTTP."""
