"""The fake data agent: data without hardware, for tests and demonstrations."""
