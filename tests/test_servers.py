"""What tests that stop a server lean on."""

import botocore.exceptions
import pytest


def test_the_s3_server_keeps_its_objects_while_it_is_stopped(storage, bucket):
    client = storage.client()
    client.put_object(Bucket=bucket, Key="folder/object", Body=b"kept")
    storage.server.stop()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        client.get_object(Bucket=bucket, Key="folder/object")
    storage.server.start()
    assert client.get_object(Bucket=bucket, Key="folder/object")["Body"].read() == b"kept"
