"""The keys of a closed site: who may connect, what each may do, and the keys by which they show who they are.

Plain logic and files: nothing here knows of a network or a reactor, and ``cryptography`` is loaded by the functions
that sign or check something, so that an open site pays nothing.
"""
