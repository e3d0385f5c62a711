"""A store in a bucket of S3 or a compatible object store.

Credentials, region and endpoint are those of every AWS client: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, or the role of the machine.
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

ATTEMPTS = 6  # per request; the waits between them double, to half a minute in all at most
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20  # for each piece of a response
PART_BYTES = 16 * 2**20  # larger contents are transferred in parts
PARTS_AT_ONCE = 8
WITH_CHECKSUM = {"ChecksumAlgorithm": "SHA256"}

MISSING = ("404", "NoSuchKey")
USER_ERRORS = {
    "NoSuchBucket": "create the bucket, or give another address",
    "AccessDenied": "these credentials may not do this",
    "403": "these credentials may not do this",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "XAdminUserNotFound": "check AWS_ACCESS_KEY_ID",  # Versity's code for the same
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
}


class S3Store:
    """The objects below an address such as "s3://bucket/prefix", as a `progan.store.Store`.

    An object becomes visible when all of it has arrived with the right checksum. There is no lock: two tasks
    of the same identity write the same bytes to the same names, so either can continue from the other's.
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
        location, content = (self.bucket, self._key(name)), io.BytesIO()
        exists = self._try_fetch(
            name, lambda: self.client.download_fileobj(*location, content, Config=self.transfer)
        )
        return content.getvalue() if exists else None

    def write(self, name: str, content: bytes) -> None:
        location = self.bucket, self._key(name)
        with self._errors_about(name):
            self.client.upload_fileobj(
                io.BytesIO(content), *location, ExtraArgs=WITH_CHECKSUM, Config=self.transfer
            )

    def upload(self, name: str, file: Path) -> None:
        location = self.bucket, self._key(name)
        with self._errors_about(name):
            self.client.upload_file(str(file), *location, ExtraArgs=WITH_CHECKSUM, Config=self.transfer)

    def download(self, name: str, file: Path) -> bool:
        def fetch() -> None:
            with atomic_file(file) as partial:
                self.client.download_file(self.bucket, self._key(name), str(partial), Config=self.transfer)

        return self._try_fetch(name, fetch)

    def delete(self, name: str) -> None:
        with self._errors_about(name):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    def discard_unfinished(self, folder: str) -> None:
        """Abort multipart uploads; one that another process still runs fails there and is tried again."""
        for upload in list(self._pages("list_multipart_uploads", "Uploads", folder)):
            with self._errors_about(folder):
                self.client.abort_multipart_upload(
                    Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )

    def alone(self, folder: str, work: str) -> AbstractContextManager[None]:
        """Lock nothing (see the class)."""
        return nullcontext()

    def _try_fetch(self, name: str, fetch: Callable[[], None]) -> bool:
        """Call `fetch` for the content `name`; False if it does not exist."""
        with self._errors_about(name):
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
        with self._errors_about(folder):
            for page in pages:
                yield from page.get(entries, ())

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".removeprefix("/")

    def _name(self, key: str) -> str:
        return key.removeprefix(f"{self.prefix}/")

    @contextmanager
    def _errors_about(self, name: str) -> Iterator[None]:
        """Turn boto3's exceptions into an InputError or Unavailable about `name`."""
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in USER_ERRORS:
                raise InputError(f"{self.uri}/{name}: {code}; {USER_ERRORS[code]}") from error
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
