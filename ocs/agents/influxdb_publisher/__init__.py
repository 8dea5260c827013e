"""The InfluxDB publisher, for version 1."""
