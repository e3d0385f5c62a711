"""Progressive growing of GANs (Karras et al. 2018): networks, training, data and measures.

This package is the science alone. It needs torch, torchvision, numpy, pyarrow, pillow, safetensors,
pyyaml, rich and typer, and nothing of the pipeline around it (see `components` and `pipelines`).
"""

import os

# By default OpenMP's threads spin while they wait, which makes training many times slower as soon as another
# process uses the cores. OpenMP reads this variable once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # numpy's: wait 2**4 cycles, then sleep

# Unless cuBLAS is told its workspaces, it may give other bits in a CUDA graph. It reads this as CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

__version__ = "0.1.0"

# Part of every identity. Raise it whenever the same inputs would give other results.
RESULTS_VERSION = 3
