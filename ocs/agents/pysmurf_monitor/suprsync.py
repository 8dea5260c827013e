"""The transfer database that is shared with the SupRsync agents: its tables, and a small manager for scripts."""

from ocs.errors import DatabaseLibraryError

try:
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
except ImportError as error:
    raise DatabaseLibraryError.because(error) from error

__all__ = ["SupRsyncFile", "SupRsyncFilesManager", "TimecodeDir"]
