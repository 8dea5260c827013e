"""The access director: hands out the rules of who may do what, and exclusive access."""
