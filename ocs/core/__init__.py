"""The rooms behind `ocs.ocs_agent`: operations, answering, membership, access, log, running."""
