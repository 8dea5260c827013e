"""The Prometheus exporter: what is known of a site, for Prometheus."""
