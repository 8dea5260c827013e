"""Reading housekeeping archives: what was recorded, from when to when. `ocs.agents.aggregator` writes them.

`load` gives fields as NumPy arrays, `gaps` tells what is missing, `summarize` what there is. All of them find their way
by an index beside each file, which is made where it is missing; `IndexWriter` makes it while a file is being recorded.
"""

from ocs.hk.archive import DamagedFileError, IndexedFile, Progress, archive_files, open_archive
from ocs.hk.describe import BlockInfo, FrameInfo, describe
from ocs.hk.gaps import Gap, Note, find_gaps, gaps
from ocs.hk.index_writer import IndexWriter
from ocs.hk.library import quiet_library
from ocs.hk.loading import Data, FieldData, load
from ocs.hk.moments import Moment, MomentError
from ocs.hk.names import UnknownFieldError
from ocs.hk.samples import Samples, read_file
from ocs.hk.summary import FeedSummary, FieldSummary, summarize

__all__ = [
    "BlockInfo",
    "DamagedFileError",
    "Data",
    "FeedSummary",
    "FieldData",
    "FieldSummary",
    "FrameInfo",
    "Gap",
    "IndexWriter",
    "IndexedFile",
    "Moment",
    "MomentError",
    "Note",
    "Progress",
    "Samples",
    "UnknownFieldError",
    "archive_files",
    "describe",
    "find_gaps",
    "gaps",
    "load",
    "open_archive",
    "quiet_library",
    "read_file",
    "summarize",
]
