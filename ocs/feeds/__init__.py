"""The rooms behind `ocs.ocs_feed`: blocks, checks, packing, names, and the outbox."""
