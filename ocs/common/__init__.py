"""What programs outside of ocs import from here by name."""
