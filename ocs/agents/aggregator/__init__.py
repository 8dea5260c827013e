"""The aggregator agent: records every feed to .g3 files."""
