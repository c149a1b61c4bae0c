"""A server that speaks S3 (moto's), with a bucket a test. Written to by another client than the pipeline reads with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Bucket:
    """One bucket, by boto3: what somebody else does to the library, behind the pipeline's back."""

    client: Any
    name: str

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes | Path) -> None:
        body = data.read_bytes() if isinstance(data, Path) else data
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def rename(self, key: str, to: str) -> None:
        self.client.copy_object(Bucket=self.name, Key=to, CopySource={"Bucket": self.name, "Key": key})
        self.delete(key)

    def last_modified_ns(self, key: str) -> int:
        time = self.client.head_object(Bucket=self.name, Key=key)["LastModified"]
        return int(time.timestamp()) * 1_000_000_000


@contextmanager
def s3_server() -> Iterator[Any]:
    """A running server as boto3 client; the environment sends s3fs there, as it would to MinIO or Ceph."""
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            environment.delenv(name, raising=False)
        for name, value in {**_ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            environment.setenv(name, value)
        S3FileSystem.clear_instance_cache()  # those of an earlier server in this process ask at its address
        try:
            yield boto3.client("s3")
        finally:
            server.stop()
