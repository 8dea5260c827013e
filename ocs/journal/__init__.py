"""A log on the disk to which entries are appended, and from whose beginning old ones are dropped.

What has been synced survives the process and the power; what is damaged is noticed and never read as if it were whole.
"""

from ocs.errors import JournalError, JournalInUseError, JournalValueError
from ocs.journal.follower import Follower
from ocs.journal.journal import Journal
from ocs.journal.records import Entry
from ocs.journal.segment import read_journal

__all__ = ["Entry", "Follower", "Journal", "JournalError", "JournalInUseError", "JournalValueError", "read_journal"]
