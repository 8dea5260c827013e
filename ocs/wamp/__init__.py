"""The link to the router: frames, transport, connecting again, staying joined."""
