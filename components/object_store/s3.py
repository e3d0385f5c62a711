"""A store in a bucket of S3 or a compatible object store.

Credentials, region and endpoint are those of every AWS client: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, or the role of the machine.
"""

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from s3transfer.exceptions import RetriesExceededError

from progan.errors import InputError, Unavailable
from progan.files import atomic_file

ATTEMPTS = 6  # per request; the waits between them double, to half a minute in all at most
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20  # for each piece of a response
PART_BYTES = 16 * 2**20  # larger contents are transferred in parts
PARTS_AT_ONCE = 8

MISSING = ("404", "NoSuchKey")
PASSING_STATUSES = (429, 500, 502, 503, 504)
PASSING_CODES = {
    *("RequestTimeout", "OperationAborted"),
    *("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"),  # damaged or cut off on the way
    "NoSuchUpload",  # another process has discarded the parts: see discard_unfinished
}
PASSING_ERRORS = (
    *(HTTPClientError, BotoConnectionError, ConnectionError, TimeoutError),
    *(ChecksumError, FlexibleChecksumError, IncompleteReadError, RetriesExceededError),
    ValueError,  # botocore's, when an answer was cut off in its headers
)
CHECKSUM_HINT = "if the store knows no checksums, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
HINTS = {
    "NoSuchBucket": "create the bucket, or give another address",
    "InvalidBucketName": "correct the bucket's name",
    "AccessDenied": "these credentials may not do this",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "XAdminUserNotFound": "check AWS_ACCESS_KEY_ID",  # Versity's code for the same
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "sign in again",
    "AuthorizationHeaderMalformed": "check AWS_DEFAULT_REGION",
    "RequestTimeTooSkewed": "set this machine's clock",
    "XMinioStorageFull": "make room in the store",
    "QuotaExceeded": "make room in the store",
    "NotImplemented": CHECKSUM_HINT,
    "InvalidArgument": CHECKSUM_HINT,
    "InvalidRequest": CHECKSUM_HINT,
}
OTHER_HINT = "check the address, the credentials and the store"


@functools.cache
def _descriptions() -> Any:
    """botocore's descriptions of S3: to read them takes a fifth of a second, which each session would."""
    return botocore.session.Session().get_component("data_loader")


def _session() -> boto3.Session:
    session = botocore.session.Session()
    session.register_component("data_loader", _descriptions())
    return boto3.Session(botocore_session=session)


class S3Store:
    """The objects below an address such as "s3://bucket/prefix", as a `progan.store.Store`.

    An object becomes visible when all of it has arrived; botocore's setting decides about its checksum. There
    is no lock: two tasks of the same identity write the same bytes to the same names, so either can continue
    from the other's.
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
            self.client = _session().client("s3", config=settings)
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
        self._put(name, io.BytesIO(content))

    def upload(self, name: str, file: Path) -> None:
        with file.open("rb") as content:
            self._put(name, content)

    def download(self, name: str, file: Path) -> bool:
        def fetch() -> None:
            with atomic_file(file) as partial, partial.open("wb") as content:
                self._get(name, content)

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

    def _get(self, name: str, content: BinaryIO) -> None:
        self.client.download_fileobj(self.bucket, self._key(name), content, Config=self.transfer)

    def _put(self, name: str, content: BinaryIO) -> None:
        with self._errors_about(name):
            self.client.upload_fileobj(content, self.bucket, self._key(name), Config=self.transfer)

    def _try_fetch(self, name: str, fetch: Callable[[], None]) -> bool:
        """Call `fetch` for the content `name`; False if it does not exist."""
        with self._errors_about(name):
            try:
                fetch()
            except ClientError as error:
                explained = self._explained(name, error)
                if _code(explained) not in MISSING:
                    raise explained from None
                return False
        return True

    def _explained(self, name: str, error: ClientError) -> ClientError:
        """The refusal in S3's words: the answer to HEAD, by which a download begins, has only a status."""
        if _code(error).isdigit() and not _is_passing(error):
            try:
                self.client.get_object(Bucket=self.bucket, Key=self._key(name))["Body"].close()
            except ClientError as in_words:
                return in_words
        return error

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
            code, text = _code(error), error.response["Error"].get("Message", "")
            answer = f"{code} ({text})" if text else code
            if _is_passing(error):
                raise Unavailable(f"{self.uri}/{name}: answers {answer}, try again later") from error
            raise InputError(f"{self.uri}/{name}: {answer}; {HINTS.get(code, OTHER_HINT)}") from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise InputError(
                f"{self.uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except ParamValidationError as error:
            raise InputError(
                f"{self.uri}/{name}: no address of an object; write s3://bucket/prefix"
            ) from error
        except PASSING_ERRORS as error:
            why = " ".join(str(error).split())
            raise Unavailable(f"{self.uri}/{name}: does not answer, try again later ({why})") from error
        except BotoCoreError as error:
            raise InputError(f"{self.uri}/{name}: {' '.join(str(error).split())}; {OTHER_HINT}") from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", "an error without a code"))


def _is_passing(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in PASSING_STATUSES or _code(error) in PASSING_CODES
