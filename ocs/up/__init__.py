"""A whole site on one machine, for `ocs up`.

`hub`: where its router is. `plan`: what is to run; `site_file`: how that differs from the user's file; `source`: when
the user changes that. `folder`: where it is kept. `run`: running it; `manager`: by whom. `managed`, `observer`: what is
told and heard of it. `rows`: how it does; `narrator`: in words.
"""
