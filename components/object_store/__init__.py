"""Stores by address: folders, or S3 and compatible object stores."""

from pathlib import Path
from typing import TYPE_CHECKING

from progan.errors import InputError
from progan.store import FolderStore

if TYPE_CHECKING:
    from components.object_store.s3 import S3Store


def open_store(uri: str) -> "FolderStore | S3Store":
    """The store at `uri`: a folder's path, or "s3://bucket/prefix". Raises InputError for other addresses."""
    if "://" not in uri:
        return FolderStore(Path(uri))
    if not uri.startswith("s3://"):
        raise InputError(f"{uri}: neither a folder's path nor an s3:// address")
    from components.object_store.s3 import S3Store

    return S3Store(uri)
