"""Writes dashboards, alert rules and provisioning files: `make dashboards`, or `python -m dashboards` in docker/."""

from dashboards.files import FOLDER, write

for path in write():
    print("written:", path.relative_to(FOLDER))
