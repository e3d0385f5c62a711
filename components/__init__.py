"""The stages: what a container runs, what it takes and hands on. Each is a folder.

stage.py is a plain function, which `progan STAGE` and so `dvc repro` call; component.py is how Kubeflow
Pipelines sees it, and calls the same function.
"""

from pathlib import Path

IMAGE = "progan"  # of every component where no cluster profile names another
PROFILE = Path("infra/cluster.yaml")  # the cluster profile of a checkout
