"""Reading housekeeping archives: what was recorded, from when to when. `ocs.agents.aggregator` writes them."""

from ocs.hk.reading import (
    DamagedFileError,
    FeedSummary,
    FieldSummary,
    Samples,
    archive_files,
    quiet_library,
    read_file,
    summarize,
)

__all__ = [
    "DamagedFileError",
    "FeedSummary",
    "FieldSummary",
    "Samples",
    "archive_files",
    "quiet_library",
    "read_file",
    "summarize",
]
