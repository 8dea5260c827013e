"""The programs, one module each: parse, call, print."""
