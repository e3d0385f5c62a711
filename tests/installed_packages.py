"""Imported once for all forks of the server in tests/commands.py: MLflow's list of what is installed here.

It compares a model's requirements with it, and to make it takes seconds of each process that registers.
"""

from mlflow.utils.requirements_utils import warn_dependency_requirement_mismatches

warn_dependency_requirement_mismatches(["mlflow"])
