"""The real open_clip loader, on real weights: the small CLIP beside the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import Store


def test_reference_embeddings_are_reproduced(small_clip: str, shared_data: Path) -> None:
    """A wrong mean or std, swapped channels or another resize all fall below 0.999 here; recall would not notice."""
    reference = np.load(shared_data / "clip-weights" / "reference_embeddings.npz", allow_pickle=True)
    encoder = ClipEncoder(ModelSpec.parse(small_clip))
    pictures = [Image.open(shared_data / str(path)).convert("RGB") for path in reference["path"]]
    cosines = (encoder.encode_images(pictures) * reference["image"]).sum(axis=1)
    assert cosines.min() >= 0.999
    words = encoder.encode_texts([str(caption) for caption in reference["caption"]])
    assert (words * reference["text"]).sum(axis=1).min() >= 0.999


def test_fingerprint_is_known_again_without_loading_torch(small_clip: str, tmp_path: Path) -> None:
    encoder = ClipEncoder(ModelSpec.parse(small_clip), Store(tmp_path))
    assert encoder.noted_fingerprint() is None
    fingerprint = encoder.fingerprint
    code = (
        "import sys; from mmrag_pipeline.embedding.clip import ClipEncoder;"
        "from mmrag_pipeline.embedding.model import ModelSpec; from mmrag_pipeline.store import Store;"
        f"print(ClipEncoder(ModelSpec.parse({small_clip!r}), Store({str(tmp_path)!r})).fingerprint,"
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [fingerprint, "False"]


def test_precision_and_preprocessing_are_part_of_the_fingerprint(small_clip: str, tmp_path: Path) -> None:
    source = ModelSpec.parse(small_clip).folder
    assert source is not None
    other = tmp_path / source.name
    other.mkdir()
    (other / "open_clip_pytorch_model.bin").symlink_to(source / "open_clip_pytorch_model.bin")
    config = json.loads((source / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["std"] = [0.4, 0.5, 0.5]
    (other / "open_clip_config.json").write_text(json.dumps(config))
    specs = [
        ModelSpec.parse(small_clip),
        ModelSpec.parse(small_clip, precision="bf16"),
        ModelSpec.parse(f"local-dir:{other}"),
    ]
    assert len({ClipEncoder(spec).fingerprint for spec in specs}) == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no-such-preset", "names no model"),
        ("ViT-B-32", "names no model"),
        ("ViT-B-32//somewhere/weights.pt", "names no model"),
        ("ViT-Z-99/openai", "can't be loaded"),
        ("local-dir:/no/such/folder", "does not exist"),
    ],
)
def test_a_model_that_can_not_be_had_is_one_sentence(name: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        _ = ClipEncoder(ModelSpec.parse(name)).fingerprint
    assert "\n" not in str(caught.value)


def test_a_local_model_without_mean_and_std_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 512}}))
    with pytest.raises(UserError, match=r"preprocess_cfg\.mean and \.std"):
        _ = ClipEncoder(ModelSpec.parse(f"local-dir:{tmp_path}")).fingerprint


def test_vectors_never_go_under_the_fingerprint_of_other_weights(small_clip: str, tmp_path: Path) -> None:
    """A hub's revision can move between two runs: the noted fingerprint is then another model's."""
    store = Store(tmp_path)
    honest = ClipEncoder(ModelSpec.parse(small_clip), store).fingerprint
    (note,) = (tmp_path / "models").iterdir()
    note.write_text(note.read_text().replace(honest, "small-clip-000000000000"))
    encoder = ClipEncoder(ModelSpec.parse(small_clip), store)
    assert encoder.fingerprint == "small-clip-000000000000"
    with pytest.raises(UserError, match="run this again"):
        encoder.encode_texts(["a cape"])
    assert ClipEncoder(ModelSpec.parse(small_clip), store).fingerprint == honest


def test_weights_that_are_cut_off_and_devices_that_are_not_there_are_one_sentence(
    small_clip: str, tmp_path: Path
) -> None:
    source = ModelSpec.parse(small_clip).folder
    assert source is not None
    (tmp_path / "open_clip_config.json").write_text((source / "open_clip_config.json").read_text())
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    with pytest.raises(UserError, match="can't be loaded"):
        ClipEncoder(ModelSpec.parse(f"local-dir:{tmp_path}")).load()
    with pytest.raises(UserError, match="MMRAG_CLIP_DEVICE='gpu'"):
        ClipEncoder(ModelSpec.parse(small_clip, device="gpu")).load()
