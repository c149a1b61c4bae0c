"""Which precision a machine is fast in, from what Linux says of its processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mmrag_pipeline.embedding import model
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.embedding.precision import best_precision

EPYC_4 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n"
EPYC_2 = "processor\t: 0\nmodel name : bf16 by name only\nflags\t\t: fpu avx2 bmi2\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n"


@pytest.mark.parametrize(("text", "precision"), [(EPYC_4, "bf16"), (EPYC_2, "fp32"), (GRAVITON, "bf16"), ("", "fp32")])
def test_by_processor(tmp_path: Path, text: str, precision: str) -> None:
    processor = tmp_path / "cpuinfo"
    processor.write_text(text)
    none = tmp_path / "none"
    assert best_precision("cpu", processor=processor, nvidia=none) == precision
    assert best_precision("auto", processor=processor, nvidia=none) == precision
    assert best_precision("auto", processor=processor, nvidia=processor) == "bf16"
    assert best_precision("cpu", processor=processor, nvidia=processor) == precision
    assert best_precision("cuda:1", processor=processor, nvidia=none) == "bf16"


def test_where_there_is_nothing_to_ask(tmp_path: Path) -> None:
    assert best_precision("auto", processor=tmp_path / "none", nvidia=tmp_path / "none") == "fp32"


def test_asking_imports_no_torch() -> None:
    code = (
        "import sys; from mmrag_pipeline.embedding.model import ModelSpec;"
        "ModelSpec.parse('demo'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_demo_model_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "best_precision", lambda device: "bf16")
    assert ModelSpec.parse("demo").precision == "fp32" and ModelSpec.parse("clip-b32").precision == "bf16"
    assert ModelSpec.parse("demo", precision="bf16").precision == "bf16"
