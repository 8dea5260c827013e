"""Who is alive, and in which state each operation is: what is made of heartbeats, for all agents that hear them."""
