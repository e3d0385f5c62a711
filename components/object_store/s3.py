"""A place in a bucket of S3, or of what speaks like it.

Credentials, region and endpoint come from where every AWS client finds them: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, or the role of the machine.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from s3transfer.exceptions import RetriesExceededError

from progan.errors import InputError, Unavailable
from progan.files import atomic_file

ATTEMPTS = 6  # of every request; the waits between them double: half a minute at most
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20  # for each piece of an answer
PART_BYTES = 16 * 2**20  # larger contents travel in parts …
PARTS_AT_ONCE = 8  # … so many at a time
CHECKED = {"ChecksumAlgorithm": "SHA256"}

MISSING = ("404", "NoSuchKey")
ONLY_THE_USER_HELPS = {
    "NoSuchBucket": "create the bucket, or give another address",
    "AccessDenied": "these credentials may not do this",
    "403": "these credentials may not do this",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "XAdminUserNotFound": "check AWS_ACCESS_KEY_ID",  # Versity's word for it
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
}


class S3Store:
    """The objects below an address such as "s3://bucket/prefix", as a `progan.store.Store`.

    S3 shows an object when all of it has arrived with the right checksum. Two trainers of one identity
    are not kept apart: they write the same bytes under the same names, and either's are right to go on from.
    """

    def __init__(self, uri: str) -> None:
        address = urlsplit(uri)
        if not address.netloc:
            raise InputError(f"{uri}: names no bucket; write s3://bucket/prefix")
        self.uri, self.bucket, self.prefix = uri.rstrip("/"), address.netloc, address.path.strip("/")
        settings = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=4 * PARTS_AT_ONCE,
        )
        try:
            self.client = boto3.Session().client("s3", config=settings)
        except (BotoCoreError, ValueError) as error:
            raise InputError(f"{uri}: {error}; check the AWS_ variables and files") from error
        self.transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )

    def names(self, folder: str) -> list[str]:
        entries = self._pages("list_objects_v2", "Contents", folder)
        return sorted(self._name(entry["Key"]) for entry in entries)

    def read(self, name: str) -> bytes | None:
        place, content = (self.bucket, self._key(name)), io.BytesIO()
        there = self._is_there(
            name, lambda: self.client.download_fileobj(*place, content, Config=self.transfer)
        )
        return content.getvalue() if there else None

    def write(self, name: str, content: bytes) -> None:
        place = self.bucket, self._key(name)
        with self._one_line(name):
            self.client.upload_fileobj(io.BytesIO(content), *place, ExtraArgs=CHECKED, Config=self.transfer)

    def upload(self, name: str, file: Path) -> None:
        place = self.bucket, self._key(name)
        with self._one_line(name):
            self.client.upload_file(str(file), *place, ExtraArgs=CHECKED, Config=self.transfer)

    def download(self, name: str, file: Path) -> bool:
        def fetch() -> None:
            with atomic_file(file) as beside:
                self.client.download_file(self.bucket, self._key(name), str(beside), Config=self.transfer)

        return self._is_there(name, fetch)

    def delete(self, name: str) -> None:
        with self._one_line(name):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def discard_unfinished(self, folder: str) -> None:
        """Abort uploads in parts; one that still runs elsewhere fails, and is tried again when due."""
        for upload in list(self._pages("list_multipart_uploads", "Uploads", folder)):
            with self._one_line(folder):
                self.client.abort_multipart_upload(
                    Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        """Nobody is kept out, for it does no harm: see the class."""
        return nullcontext()

    def _is_there(self, name: str, fetch: Callable[[], None]) -> bool:
        """Fetch a content; False when there is none."""
        with self._one_line(name):
            try:
                fetch()
            except ClientError as error:
                if _code(error) not in MISSING:
                    raise
                return False
        return True

    def _pages(self, operation: str, entries: str, folder: str) -> Iterator[dict[str, Any]]:
        pages = self.client.get_paginator(operation).paginate(
            Bucket=self.bucket, Prefix=self._key(f"{folder}/")
        )
        with self._one_line(folder):
            for page in pages:
                yield from page.get(entries, ())

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".removeprefix("/")

    def _name(self, key: str) -> str:
        return key.removeprefix(f"{self.prefix}/")

    @contextmanager
    def _one_line(self, name: str) -> Iterator[None]:
        """Turn what boto3 raises into one clear line about `name`."""
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in ONLY_THE_USER_HELPS:
                raise InputError(f"{self.uri}/{name}: {code}; {ONLY_THE_USER_HELPS[code]}") from error
            raise Unavailable(f"{self.uri}/{name}: answers {code}, try again later") from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise InputError(
                f"{self.uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except ParamValidationError as error:
            raise InputError(
                f"{self.uri}/{name}: no address of an object; write s3://bucket/prefix"
            ) from error
        except (BotoCoreError, Boto3Error, RetriesExceededError, ConnectionError, TimeoutError) as error:
            why = " ".join(str(error).split())
            raise Unavailable(f"{self.uri}/{name}: does not answer, try again later ({why})") from error


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]
