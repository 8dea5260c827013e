"""Which archive, and which span of time, a command line of ``ocs data`` means."""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ocs import site_config
from ocs.diagnosis import data_folder
from ocs.errors import RecordingError
from ocs.hk.moments import MomentError, seconds_of, span_of
from ocs.scf.model import HostConfig, SiteConfig

__all__ = ["Source", "default_folder", "source_of", "span_in"]

_DEMONSTRATION = Path("ocs-data", "hk")


class Source(NamedTuple):
    """What is meant."""

    folder: Path
    """The folder, or the file."""
    names: list[str]
    """Fields or feeds, as they were named."""


def source_of(args: argparse.Namespace) -> Source:
    """Return which archive and which names a command line means.

    Args:
        args: with ``words``, ``data_dir`` and the site's options.

    Raises:
        RecordingError: no folder is named, and none can be found.
        SiteConfigError: the site config file cannot be used.
    """
    if args.words is None or isinstance(args.words, str):
        return Source(_one(args.data_dir, [Path(args.words)] if args.words else []) or default_folder(args), [])
    folders = [Path(word) for word in args.words if _is_path(word)]
    names = [word for word in args.words if not _is_path(word)]
    return Source(_one(args.data_dir, folders) or default_folder(args), names)


def _is_path(word: str) -> bool:
    return "/" in word or word in (".", "..") or word.endswith(".g3")


def _one(option: Path | None, words: Sequence[Path]) -> Path | None:
    folders = [*([option] if option else []), *words]
    if len(folders) > 1:
        raise RecordingError(f"name one folder, not {len(folders)}: {', '.join(map(str, folders))}")
    return folders[0] if folders else None


def default_folder(args: argparse.Namespace) -> Path:
    """Return the folder where the site's aggregator records, or else where `ocs up` does.

    Args:
        args: with the site's options.

    Raises:
        RecordingError: there is none.
        SiteConfigError: the site config file cannot be used.
    """
    if args.site_file or args.site or os.environ.get("OCS_CONFIG_DIR"):
        site, host, _ = site_config.get_config(args, "*control*")
        return _recorded(site, [host] if host else list(site.hosts.values()))
    if _DEMONSTRATION.is_dir():
        return _DEMONSTRATION
    raise RecordingError(
        f"which folder? There is no {_DEMONSTRATION} here: name it, or give the site config file with --site-file"
    )


def _recorded(site: SiteConfig, hosts: Sequence[HostConfig]) -> Path:
    found = {
        Path(host.working_dir or "").joinpath(folder): instance.instance_id
        for host in hosts
        for instance in host.instances
        if (folder := data_folder(instance))
    }
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise RecordingError(f"{site.source_file} has no aggregator for this host: name the folder with --data-dir")
    several = ", ".join(f"{folder} ({instance})" for folder, instance in found.items())
    raise RecordingError(f"{site.source_file} has several aggregators, name a folder with --data-dir: {several}")


def span_in(args: argparse.Namespace, clock: Callable[[], float] = time.time) -> tuple[float | None, float | None]:
    """Return the span of time that a command line means (unix, s); None for no limit.

    Raises:
        MomentError: it makes no sense.
    """
    start, stop = span_of(args.start, args.stop, clock)
    if args.last is None:
        return start, stop
    if start is not None:
        raise MomentError("--start and --last do not go together")
    return (clock() if stop is None else stop) - seconds_of(args.last), stop
