"""Looking over a site config file before anything is started from it: what `ocs config check` tells."""
