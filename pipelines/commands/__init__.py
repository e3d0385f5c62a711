"""The commands of `progan`, one module per group: they read options, call plain functions and print.

Heavy imports stand inside the commands, so that `--help` answers at once.
"""
