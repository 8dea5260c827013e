"""The agents that come with ocs, a folder each."""
