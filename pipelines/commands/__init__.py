"""The commands of `progan`, a module a group: they read options, call plain functions, and print.

Heavy imports are made inside the commands, so that `--help` answers at once.
"""
