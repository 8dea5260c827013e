"""Whether somebody will run what the file describes: HostManagers, and what they have been told."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ocs.inspection.problems import Problem, error, note, warning
from ocs.scf.model import HostConfig, InstanceConfig
from ocs.scf.survey import Described, Survey

__all__ = ["MANAGER_CLASS", "DockerOptions", "check_managers", "docker_options", "managers_of"]

MANAGER_CLASS = "HostManager"


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """What a HostManager's arguments say of docker."""

    files: tuple[str, ...]
    prefix: str
    working_dir: str | None


def docker_options(instance: InstanceConfig) -> DockerOptions:
    """Return what the arguments of a HostManager say of docker."""
    parser = _Quiet(add_help=False, allow_abbrev=False)
    parser.add_argument("--docker-compose", default="")
    parser.add_argument("--docker-service-prefix", default="ocs-")
    parser.add_argument("--working-dir")
    try:
        args = parser.parse_known_args(instance.arguments)[0]
    except argparse.ArgumentError:  # an option without its value; its own parser tells
        return DockerOptions((), "ocs-", None)
    files = tuple(name.strip() for name in args.docker_compose.split(",") if name.strip())
    return DockerOptions(files, args.docker_service_prefix, args.working_dir)


class _Quiet(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def managers_of(found: Survey, host: HostConfig) -> list[Described]:
    """Return the HostManagers that a host describes."""
    return [one for one in found.instances if one.host is host and one.instance.agent_class == MANAGER_CLASS]


def check_managers(found: Survey) -> Iterator[Problem]:
    """See whether each host has one HostManager, if anything there is to be managed."""
    for host in found.site.hosts.values():
        managers = managers_of(found, host)
        yield from _check_one_manager(found, host, managers)
        if len(managers) == 1:
            yield from _check_docker_is_managed(host, managers[0])


def _check_one_manager(found: Survey, host: HostConfig, managers: list[Described]) -> Iterator[Problem]:
    place = ("hosts", str(host.name))
    kept = [one for one in host.instances if one.manage != "ignore" and one.agent_class != MANAGER_CLASS]
    if not managers and kept:
        remedy = f"add one: {{agent-class: {MANAGER_CLASS}, instance-id: hm-{host.name}}}"
        alone = len(found.site.hosts) == 1 and not any(_in_docker(one) for one in kept)
        but = " (only `ocs up` would)" if alone else ""
        judge = note if alone else warning
        yield judge(f"no HostManager keeps the {_count(len(kept))} of host '{host.name}'{but}; {remedy}", place)
    for further in managers[1:]:
        first = managers[0].instance.instance_id
        yield error(
            f"a second HostManager of one host would start everything twice; the first is {first}", further.keys
        )


def _check_docker_is_managed(host: HostConfig, manager: Described) -> Iterator[Problem]:
    contained = [one.instance_id for one in host.instances if _in_docker(one)]
    if contained and not docker_options(manager.instance).files:
        yield error(
            f"{manager.instance.instance_id} has no --docker-compose in its arguments, so that it cannot start"
            f" {contained[0]}{' and others' if contained[1:] else ''} (manage: docker)",
            manager.keys,
        )


def _in_docker(instance: InstanceConfig) -> bool:
    return instance.manage.startswith("docker")


def _count(number: int) -> str:
    return f"{number} instance{'' if number == 1 else 's'}"
