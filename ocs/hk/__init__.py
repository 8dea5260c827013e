"""Reading housekeeping archives: what was recorded, from when to when. `ocs.agents.aggregator` writes them."""

from ocs.hk.describe import BlockInfo, FrameInfo, describe
from ocs.hk.index_writer import IndexWriter
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
    "BlockInfo",
    "DamagedFileError",
    "FeedSummary",
    "FieldSummary",
    "FrameInfo",
    "IndexWriter",
    "Samples",
    "archive_files",
    "describe",
    "quiet_library",
    "read_file",
    "summarize",
]
