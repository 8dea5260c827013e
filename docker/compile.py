"""Has Python keep what a program loads in compiled form: in a running container, whose files are read-only, it cannot.

python docker/compile.py MODULE...: all of ocs, and what these modules load.
"""

import compileall
import sys
from importlib import import_module

import ocs

for name in sys.argv[1:]:
    import_module(name)
compileall.compile_dir(ocs.__path__[0], quiet=1)
