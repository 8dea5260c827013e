"""The sequence component: runs the Python scripts by which an observatory observes, step by step."""
