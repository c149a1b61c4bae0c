"""The real open_clip loader, on real weights: the small CLIP beside the checkout."""

from __future__ import annotations

import io
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
from mmrag_pipeline.media.decode import Limits, decode_pixels
from mmrag_pipeline.store import Store


def reference(shared_data: Path) -> tuple[dict[str, np.ndarray], list[bytes]]:
    """Pictures and captions with the vectors that the model's makers computed for them, and the pictures' bytes."""
    vectors = dict(np.load(shared_data / "clip-weights" / "reference_embeddings.npz", allow_pickle=True))
    return vectors, [(shared_data / str(path)).read_bytes() for path in vectors["path"]]


@pytest.mark.parametrize(("preprocessing", "least"), [("exact", 0.999), ("fast", 0.995)])
def test_reference_embeddings_are_reproduced(
    small_clip: str, shared_data: Path, preprocessing: str, least: float
) -> None:
    """A wrong mean or std, swapped channels or another resize all fall below 0.999 here; recall would not notice."""
    vectors, pictures = reference(shared_data)
    encoder = ClipEncoder(ModelSpec.parse(small_clip, precision="fp32", preprocessing=preprocessing))
    decoded = [decode_pixels(data, Limits(), short_side=encoder.short_side) for data in pictures]
    embedded = encoder.encode_prepared([encoder.prepare(pixels) for pixels in decoded])
    assert (embedded * vectors["image"]).sum(axis=1).min() >= least
    words = encoder.encode_texts([str(caption) for caption in vectors["caption"]])
    assert (words * vectors["text"]).sum(axis=1).min() >= 0.999


def test_large_pictures_are_reproduced_by_the_fast_tier(small_clip: str, shared_data: Path) -> None:
    """The reference pictures are small; of twelve megapixels the fast tier reads a quarter or a sixteenth."""
    encoder = ClipEncoder(ModelSpec.parse(small_clip, precision="fp32"))
    vectors, pictures = reference(shared_data)
    reduced, prepared = [], []
    for data in pictures[:6]:
        stream = io.BytesIO()
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        scale = (12e6 / (picture.width * picture.height)) ** 0.5
        size = round(picture.width * scale), round(picture.height * scale)
        picture.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
        pixels = decode_pixels(stream.getvalue(), Limits(), short_side=encoder.short_side)
        reduced.append(pixels.by)
        prepared.append(encoder.prepare(pixels))
    assert min(reduced) >= 2 and max(reduced) >= 4
    assert (encoder.encode_prepared(prepared) * vectors["image"][:6]).sum(axis=1).min() >= 0.99


def test_bf16_points_the_same_way(small_clip: str, shared_data: Path) -> None:
    vectors, pictures = reference(shared_data)
    encoder = ClipEncoder(ModelSpec.parse(small_clip, precision="bf16"))
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures[:4]]
    embedded = encoder.encode_images(images)
    assert (embedded * vectors["image"][:4]).sum(axis=1).min() >= 0.995
    assert embedded.dtype == np.float32
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(1, abs=1e-5)


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
        ModelSpec.parse(small_clip, precision="fp32"),
        ModelSpec.parse(small_clip, precision="bf16"),
        ModelSpec.parse(small_clip, precision="fp32", preprocessing="exact"),
        ModelSpec.parse(small_clip, precision="fp32", background=(0, 0, 0)),
        ModelSpec.parse(f"local-dir:{other}", precision="fp32"),
    ]
    store = Store(tmp_path / "store")
    fingerprints = [ClipEncoder(spec, store).fingerprint for spec in specs]
    assert len(set(fingerprints)) == len(specs)
    assert [ClipEncoder(spec, store).noted_fingerprint() for spec in specs] == fingerprints


def test_a_batch_is_what_the_device_is_fast_with_unless_it_is_set(small_clip: str) -> None:
    spec = ModelSpec.parse(small_clip, device="cpu")
    assert ClipEncoder(spec).batch_size == 8
    chosen = ClipEncoder(spec, batch_size=5, workers=3)
    assert (chosen.batch_size, chosen.workers, chosen.lanes) == (5, 3, 3)


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


@pytest.mark.parametrize(
    "config", ['{"preprocess_cfg": {"mean": null, "std": [1, 1, 1]}}', '{"preprocess_cfg": {}}', "{}"]
)
def test_a_model_of_a_hub_without_mean_and_std_is_refused(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    (tmp_path / "open_clip_config.json").write_text(config)
    found = {("brand/clip", "open_clip_config.json"): str(tmp_path / "open_clip_config.json")}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *asked: found[asked])
    with pytest.raises(UserError, match=r"does not give preprocess_cfg\.mean"):
        ClipEncoder(ModelSpec.parse("hf-hub:brand/clip")).load()


def test_a_weights_file_is_no_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(UserError, match=r"open_clip knows the weights .*laion2b_s34b_b79k.* of ViT-B-32"):
        ClipEncoder(ModelSpec.parse("ViT-B-32/weights.pt")).load()


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
