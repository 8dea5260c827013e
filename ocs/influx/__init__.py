"""Feeds to InfluxDB: messages become lines, wait in a spool, and are sent. Knows neither Twisted nor WAMP."""
