"""A model as a service: an engine that many requests share, an HTTP protocol, and a page.

It may import everything but benchmarks and the command line.
"""
