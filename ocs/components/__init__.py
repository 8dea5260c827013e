"""Components: who has which name among those that the router knows, and where each of them is."""
