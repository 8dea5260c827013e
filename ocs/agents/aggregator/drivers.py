"""The names that programs import to record feeds by themselves; each lives in the module named after its task."""

from ocs.agents.aggregator.aggregator import Aggregator
from ocs.agents.aggregator.files import make_filename
from ocs.agents.aggregator.frames import g3_cast, generate_id
from ocs.agents.aggregator.provider import Provider
from ocs.agents.aggregator.writer import G3FileRotator

__all__ = ["Aggregator", "G3FileRotator", "Provider", "g3_cast", "generate_id", "make_filename"]
