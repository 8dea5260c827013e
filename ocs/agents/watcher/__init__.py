"""The watcher agent: raises alarms by rules, and tells people."""
