"""Code for every Python that a router starts; see `sitecustomize.py`."""
