"""The generator in a snapshot, of a phase that is still training or was stopped."""

from pathlib import Path

from progan.checkpoints import stripped
from progan.errors import InputError
from progan.network_config import NetworkConfig
from progan.sampling import Sampler, settled
from progan.shapes import without_values
from progan.snapshots import LATEST, SnapshotFolder
from progan.store import FolderStore
from progan.validation import from_json


def is_snapshots(folder: Path) -> bool:
    """Whether `folder` has the snapshots of a phase, as snapshots/r0032-6faecf2dc89a43a7 does."""
    return (folder / LATEST).is_file()


def newest_sampler(folder: Path) -> Sampler:
    """The averaged generator of the newest snapshot in `folder`, on the CPU; its classes go by number.

    Raises InputError if no snapshot is whole, or if an older version of progan wrote it.
    """
    key, _, identity = folder.name.partition("-")
    snapshot = SnapshotFolder(FolderStore(folder.parent), key, identity).read()
    if snapshot is None:
        raise InputError(f"{folder}: no snapshot in it is whole; run its phase again")
    tensors, facts = snapshot
    if "network" not in facts:
        raise InputError(f"{folder}: an older version of progan wrote its snapshot; run its phase again")
    network = from_json(NetworkConfig, facts["network"])
    generator = without_values(network, facts["resolution"])
    generator.load_state_dict(stripped("ema", tensors), assign=True)
    return Sampler(
        settled(generator.eval()), [str(label) for label in range(network.label_size)], facts["alpha"]
    )
