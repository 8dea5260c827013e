"""The tests of ocs."""
