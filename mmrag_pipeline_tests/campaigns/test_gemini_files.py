"""The local server's files and batch jobs, as the real SDK sees them: what our batches rest on in tests."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from google import genai
from google.genai import errors, types

from mmrag_pipeline_tests.integration.gemini_batches import GeminiBatchServer
from mmrag_pipeline_tests.integration.gemini_server import KEY, error

MODEL = "gemini-nano-banana-2.1"


@pytest.fixture
def server() -> Iterator[GeminiBatchServer]:
    with GeminiBatchServer() as running:
        yield running


@pytest.fixture
def client(server: GeminiBatchServer) -> Iterator[genai.Client]:
    opened = genai.Client(
        api_key=KEY,
        vertexai=False,
        http_options=types.HttpOptions(base_url=server.url, api_version="v1", client_args={"trust_env": False}),
    )
    yield opened
    opened.close()


def upload(client: genai.Client, *lines: object) -> str:
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.upload(file=io.BytesIO(data), config={"mime_type": "jsonl", "display_name": "mine"})
    assert file.name and file.size_bytes == len(data) and file.display_name == "mine"
    return file.name


def line(key: str, **more: object) -> dict[str, object]:
    request = {
        "contents": [{"role": "user", "parts": [{"text": "A watch."}]}],
        "generation_config": {"response_modalities": ["IMAGE"], "image_config": {"aspect_ratio": "1:1"}},
    }
    return {"key": key, "request": request | more}


def create(client: genai.Client, file: str, name: str = "camp") -> types.BatchJob:
    return client.batches.create(model=MODEL, src=file, config={"display_name": name})


def test_a_file_larger_than_a_piece_is_uploaded_whole_and_deleted(
    client: genai.Client, server: GeminiBatchServer
) -> None:
    data = bytes(range(256)) * 4 * 10_000  # over 8 MB, the size of a piece
    name = client.files.upload(file=io.BytesIO(data), config={"mime_type": "jsonl"}).name
    assert server.files[name].data == data and server.asked.count("upload") == 3
    assert client.files.get(name=name).state == types.FileState.ACTIVE
    with pytest.raises(errors.ClientError, match="only generated files"):
        client.files.download(file=name)
    client.files.delete(name=name)
    with pytest.raises(errors.ClientError) as gone:
        client.files.get(name=name)
    assert gone.value.code == 404


def test_a_job_goes_through_its_states_and_gives_a_file(client: genai.Client, server: GeminiBatchServer) -> None:
    job = create(client, upload(client, line("a"), line("b")))
    assert (job.state, job.display_name) == (types.JobState.JOB_STATE_PENDING, "camp")
    states = [client.batches.get(name=job.name).state.value for _ in range(4)]
    assert states == ["JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED", "JOB_STATE_SUCCEEDED", "JOB_STATE_SUCCEEDED"]
    done = client.batches.get(name=job.name)
    results = [json.loads(text) for text in client.files.download(file=done.dest.file_name).splitlines()]
    assert done.done and {entry["key"] for entry in results} == {"a", "b"}
    assert all(entry["response"]["candidates"] for entry in results)
    one = (0.0336 + 1400 * 1.5e-6 + 90 * 7.5e-6) / 2
    assert server.billed_usd == pytest.approx(2 * one) and server.problems == []


def test_jobs_are_listed_cancelled_and_deleted(client: genai.Client, server: GeminiBatchServer) -> None:
    names = [create(client, upload(client, line("a")), f"camp-{n}").name for n in range(7)]
    assert [job.name for job in client.batches.list(config={"page_size": 100})] == names[::-1]
    client.batches.cancel(name=names[0])
    assert client.batches.get(name=names[0]).state == types.JobState.JOB_STATE_CANCELLED
    with pytest.raises(errors.ClientError, match="has ended"):
        client.batches.cancel(name=names[0])
    client.batches.delete(name=names[0])
    with pytest.raises(errors.ClientError):
        client.batches.get(name=names[0])
    assert server.billed_usd == 0


def test_what_a_real_server_refuses_is_refused(client: genai.Client, server: GeminiBatchServer) -> None:
    inline = [types.InlinedRequest(contents=[types.Content(role="user", parts=[types.Part(text="A watch.")])])]
    with pytest.raises(errors.ClientError, match="inline"):
        client.batches.create(model=MODEL, src=inline, config={"display_name": "inline"})
    with pytest.raises(errors.ClientError, match="is not there"):
        create(client, "files/nowhere")
    with pytest.raises(errors.ClientError) as unknown:
        client.batches.create(model="gemini-nano-banana-9", src=upload(client, line("a")), config={"display_name": "x"})
    assert unknown.value.code == 404
    server.states = ["SUCCEEDED"]
    create(client, upload(client, line("a", config={}), line("b", generation_config={})))
    (output,) = [file for file in server.files.values() if file.generated]
    assert [json.loads(text)["error"]["code"] for text in output.data.splitlines()] == [3, 3]
    assert len(server.problems) == 4 and server.billed_usd == 0


def test_a_fault_is_scripted_by_what_is_asked(client: genai.Client, server: GeminiBatchServer) -> None:
    server.scripted["create"] = [error(429, "RESOURCE_EXHAUSTED", "too many")]
    file = upload(client, line("a"))
    with pytest.raises(errors.ClientError) as refused:
        create(client, file)
    assert refused.value.code == 429 and server.jobs == {}
    assert create(client, file).name in server.jobs
