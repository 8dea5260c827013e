"""All files that are made, and where they belong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.alerts import from_influxdb, from_prometheus
from dashboards.boards import BOARDS
from dashboards.description import Backend
from dashboards.making import dashboard_of, encoded

__all__ = ["FOLDER", "HOME", "RULES", "made_files", "write"]

FOLDER: Final = Path(__file__).resolve().parents[1] / "grafana"

RULES: Final = FOLDER.parent / "prometheus" / "rules"
"""What Prometheus reads, and the rules for Grafana are made of."""

HOME: Final = "dashboards/prometheus/operations.json"
"""What Grafana opens with."""

_HEAD: Final = "# Made by `make dashboards` of docker/dashboards; what is changed here by hand is overwritten.\n"
_SOURCES: Final[dict[Backend, dict[str, Any]]] = {
    Backend.PROMETHEUS: {
        "url": "http://prometheus:9090",
        "isDefault": True,
        # How often it scrapes: what is asked for finer than that has gaps.
        "jsonData": {"httpMethod": "POST", "prometheusType": "Prometheus", "timeInterval": "10s"},
    },
    Backend.INFLUXDB: {
        "url": "http://influxdb:8086",
        "jsonData": {"dbName": "ocs_feeds", "httpMode": "POST", "timeInterval": "1s", "version": "InfluxQL"},
    },
}


def made_files() -> dict[str, str]:
    """Make all; returns path below `FOLDER` → content."""
    return {**dict(_dashboards()), **dict(_provisioning()), **dict(_alerts())}


def write(folder: Path = FOLDER) -> list[Path]:
    """Write all that has changed; what else is in the folder is a site's own, and stays.

    Returns:
        What was written.
    """
    wanted = {folder / name: text for name, text in made_files().items()}
    new = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return new


def _dashboards() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for backend in Backend:
            if board.sections_for(backend):
                yield f"dashboards/{backend}/{board.name}.json", encoded(dashboard_of(board, backend))


def _provisioning() -> Iterator[tuple[str, str]]:
    yield "datasources/ocs.yaml", _yaml({"apiVersion": 1, "datasources": [_source(backend) for backend in Backend]})
    yield "providers/ocs.yaml", _yaml({"apiVersion": 1, "providers": [_provider(backend) for backend in Backend]})


def _alerts() -> Iterator[tuple[str, str]]:
    yield "alerting/influxdb/ocs.yaml", _yaml(from_influxdb())
    yield "alerting/prometheus/ocs.yaml", _yaml(from_prometheus(*sorted(RULES.glob("*.yml"))))


def _source(backend: Backend) -> dict[str, Any]:
    named = {"name": backend.label, "uid": backend.uid, "type": backend.value, "access": "proxy"}
    return {**named, "editable": False, **_SOURCES[backend]}


def _provider(backend: Backend) -> dict[str, Any]:
    return {
        "name": backend.uid,
        "folder": f"OCS ({backend.label})",
        "folderUid": f"{backend.uid}-folder",
        "type": "file",
        "updateIntervalSeconds": 60,
        "options": {"path": f"/etc/ocs/dashboards/{backend}"},
    }


def _yaml(content: Any) -> str:
    plain = json.loads(json.dumps(content, cls=JSONEncoder))
    return _HEAD + yaml.safe_dump(plain, sort_keys=False, width=120, allow_unicode=True)
