"""A whole site on one machine, for `ocs up`.

`hub`: where its router is. `plan`: what is to run. `folder`: where it is kept. `run`: running it. `rows`: how it does.
"""
