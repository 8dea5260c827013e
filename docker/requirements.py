"""Prints what `pyproject.toml` asks for: an image's layer of other people's packages is made before that of ours.

python3 docker/requirements.py [EXTRA...]
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
needed = [*project["dependencies"], *(item for extra in sys.argv[1:] for item in extras[extra])]
print(*needed, sep="\n")
