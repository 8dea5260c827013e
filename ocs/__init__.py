"""ocs: the agent framework that runs an observatory."""

from importlib import import_module
from typing import Any

from ocs.base import ERROR, OK, TIMEOUT, OpCode, ResponseCode

__version__ = "0.13.0"

__all__ = ["ERROR", "OK", "TIMEOUT", "OpCode", "ResponseCode", "__version__", "site_config"]


def __getattr__(name: str) -> Any:
    """Load ``ocs.site_config`` when it is first asked for: ``import ocs`` alone stays cheap."""
    if name == "site_config":
        return import_module("ocs.site_config")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
