"""What the tests run things with: sites, agents as real processes, a faulty link, a watch for what a test leaves."""
