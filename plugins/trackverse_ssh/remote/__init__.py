"""What runs on a host: sent there with every call, nothing of it is installed.

The standard library is enough. `serve` reads one request from standard input, does it, answers
and ends; only the ranks that it started stay.
"""
