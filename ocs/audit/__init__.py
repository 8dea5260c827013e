"""The record of what has been asked of agents: by whom, from where, with which parameters, and what became of it."""

from ocs.audit.masking import SHOWN, Masked, mask, mask_text
from ocs.audit.reading import Follower, Wanted, audit_files, read_records
from ocs.audit.record import AuditRecord
from ocs.audit.rotating import RotatingFile
from ocs.audit.writer import AuditWriter

__all__ = [
    "SHOWN",
    "AuditRecord",
    "AuditWriter",
    "Follower",
    "Masked",
    "RotatingFile",
    "Wanted",
    "audit_files",
    "mask",
    "mask_text",
    "read_records",
]
