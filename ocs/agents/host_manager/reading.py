"""Reading the site config file, of which the last good reading stays in force. Blocks: for a thread."""

import argparse
import os
import time
from dataclasses import dataclass

from ocs import site_config
from ocs.errors import OCSError, SiteConfigError
from ocs.scf import last_good
from ocs.site_config import HostConfig, InstanceConfig

__all__ = ["MANAGER_CLASS", "Reading", "SiteReader", "managed_instances"]

MANAGER_CLASS = "HostManager"


@dataclass(frozen=True)
class Reading:
    """What the file says of this host."""

    host: HostConfig
    instances: tuple[InstanceConfig, ...]
    """Those that are managed here, in the order of the file."""
    time: float
    """When it was read (unix s)."""


def managed_instances(host: HostConfig, own_id: str) -> tuple[InstanceConfig, ...]:
    """Return the instances of a host that its manager keeps: not itself, nor another manager, nor ``ignore``."""
    return tuple(
        instance
        for instance in host.instances
        if instance.manage != "ignore" and instance.agent_class != MANAGER_CLASS and instance.instance_id != own_id
    )


class SiteReader:
    """Reads one host's part of a site config file.

    Args:
        site_file: the file.
        site_host: the host's name in it; None: the system's.
        own_id: the manager's instance-id.
    """

    def __init__(self, site_file: str, site_host: str | None, own_id: str) -> None:
        self.site_file = site_file
        self._site_host = site_host
        self._own_id = own_id
        self._good: tuple[int, int, int] | None = None

    def read(self) -> Reading:
        """Return what the file says now, and keep a copy of it.

        Raises:
            SiteConfigError: it is missing, or has a mistake; the text has file and line.
        """
        signature = _signature(self.site_file)
        reading = self._read(self.site_file)
        self._good = signature
        last_good.keep_copy(self.site_file)
        return reading

    def read_last_good(self) -> Reading | None:
        """Return what the file said when it was last good, also in an earlier life; None if nobody knows."""
        copy = last_good.copy_of(self.site_file)
        try:
            return self._read(copy) if copy else None
        except OCSError:
            return None

    def file_for_children(self) -> str:
        """Return the file that agents are to read: the site file, or its last good copy while that is broken."""
        signature = _signature(self.site_file)
        if signature is not None and signature == self._good:
            return self.site_file
        try:
            self._read(self.site_file)
        except OCSError:
            return last_good.copy_of(self.site_file) or self.site_file
        self._good = signature
        return self.site_file

    def _read(self, path: str) -> Reading:
        wanted = argparse.Namespace(site=None, site_file=path, site_host=self._site_host, instance_id=None)
        host = site_config.get_config(wanted, site_config.HOST).host
        if host is None:
            raise SiteConfigError(f"{path} describes no host")
        return Reading(host, managed_instances(host, self._own_id), time.time())


def _signature(path: str) -> tuple[int, int, int] | None:
    """Return what changes whenever the file does."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the path is text here
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
