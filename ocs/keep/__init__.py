"""What an agent keeps of what it has published until its recorders have it, in memory and on the disk."""
