"""The InfluxDB publisher, for version 2."""
