"""One side as a process of its own: `ours` is the pipeline's job, the others are loops as one writes them."""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ATTEMPTS = 5
"""How often the SDK asks before it gives up: its own retries are on for the loops."""


def ours(occurrence: str) -> None:
    """Materialise the occurrence as its schedule does; settings come from the environment."""
    from mmrag_pipeline.dagster_runs import DagsterRuns
    from mmrag_pipeline.settings import load_settings

    with DagsterRuns(load_settings()) as runs:
        runs.add_occurrence(occurrence)
        runs.run("run_campaign", occurrence)


def loop(wanted: Path, output: Path, *, url: str, key: str, threads: int) -> None:
    """Every picture that has no file yet, its prompt and its references in one request; failures are printed."""
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=url, api_version="v1", retry_options=types.HttpRetryOptions(attempts=ATTEMPTS, initial_delay=1.0)
    )
    client = genai.Client(api_key=key, http_options=options)
    model, pictures = (job := json.loads(wanted.read_text()))["model"], job["pictures"]

    def make(picture: dict[str, Any]) -> None:
        file = output / f"{picture['key']}.jpg"
        if file.exists():
            return
        parts = [types.Part.from_bytes(data=Path(path).read_bytes(), mime_type=mime) for path, mime in picture["parts"]]
        config = types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(aspect_ratio=picture["ratio"], image_size="1K"),
        )
        try:
            answer = client.models.generate_content(model=model, contents=[picture["prompt"], *parts], config=config)
        except Exception as error:  # whatever it is, the loop goes on with the next picture
            print(f"{picture['key']}: {error}", flush=True)
            return
        for part in answer.candidates[0].content.parts:
            if part.inline_data is not None and not part.thought:
                file.write_bytes(part.inline_data.data)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(make, pictures))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", required=True, choices=("ours", "loop"))
    parser.add_argument("--occurrence", default="", help="ours: the partition")
    parser.add_argument("--wanted", type=Path, help="loop: JSON of what to ask for")
    parser.add_argument("--output", type=Path, help="loop: folder of the pictures")
    parser.add_argument("--threads", type=int, default=1, help="loop: requests at a time")
    given = parser.parse_args()
    if given.side == "ours":
        ours(given.occurrence)
    else:
        address, key = os.environ["MMRAG_GEMINI_BASE_URL"], os.environ["MMRAG_GEMINI_API_KEY"]
        loop(given.wanted, given.output, url=address, key=key, threads=given.threads)


if __name__ == "__main__":
    main()
