"""The site config file: its model, its checks, its reading, and the arguments that come from it."""
