"""A picture says who made it from what; the smallest change shows; nothing is asked of a network."""

from __future__ import annotations

import hashlib
import io
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.campaigns.provenance import (
    Credentials,
    Ingredient,
    Source,
    development_credentials,
    encode_with_xmp,
    open_credentials,
    sign,
    verify,
)
from mmrag_pipeline.campaigns.references import encode_reference
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import draw, hit

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return development_credentials(str(tmp_path_factory.mktemp("c2pa")))


def sources() -> list[Source]:
    encoded = [encode_reference(draw(hit(n))) for n in (1, 2)]
    return [Source(f"Golden watch {n}", e.sha256, "image/jpeg", e.data) for n, e in enumerate(encoded, 1)]


def signed(credentials: Credentials, format_: str = "jpeg") -> bytes:
    picture = encode_with_xmp(draw(hit(3)), format_, "trainedAlgorithmicMedia")
    return sign(
        picture,
        mime=FORMATS[format_],
        title="golden-hour",
        model="gemini-nano-banana-2.1",
        source="trainedAlgorithmicMedia",
        references=sources(),
        credentials=credentials,
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_a_signed_picture_names_model_signer_and_references(
    format_: str, credentials: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("signing asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    file = tmp_path / f"picture.{format_}"
    file.write_bytes(signed(credentials, format_))
    report = verify(file)
    assert (report.state, report.xmp, report.ok) == ("valid", "trainedAlgorithmicMedia", True)
    assert (report.model, report.signer) == ("gemini-nano-banana-2.1", credentials.signer)
    assert report.ingredients == tuple(Ingredient(s.title, "inputTo", s.sha256) for s in sources())
    assert all(hashlib.sha256(s.data).hexdigest() == s.sha256 for s in sources())
    assert verify(file, anchors=credentials.certificate).state == "trusted"
    if format_ == "png":
        assert Image.open(file).tobytes() == draw(hit(3)).tobytes()


def test_a_changed_byte_is_invalid_and_a_resaved_picture_has_none(credentials: Credentials, tmp_path: Path) -> None:
    data = bytearray(signed(credentials))
    data[-200] ^= 1
    file = tmp_path / "picture.jpg"
    file.write_bytes(data)
    changed = verify(file)
    assert changed.state == "invalid" and not changed.ok and any("mismatch" in said for said in changed.problems)
    Image.open(io.BytesIO(signed(credentials))).save(file)
    assert verify(file).state == "absent" and not verify(file).ok


def test_what_is_no_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="is no PNG, JPEG or WebP"):
        verify(tmp_path / "x.png")
    with pytest.raises(UserError, match="can't be read"):
        verify(tmp_path / "missing.png")


def test_the_development_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    first = development_credentials(str(tmp_path / "c2pa"))
    assert development_credentials(str(tmp_path / "c2pa")) == first
    key = tmp_path / "c2pa" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(first)
    (tmp_path / "c2pa" / "certificate.pem").unlink()  # killed between key and certificate
    assert development_credentials(str(tmp_path / "c2pa")).key == first.key


def test_two_processes_make_one_development_certificate(tmp_path: Path) -> None:
    code = (
        "import sys; from mmrag_pipeline.campaigns.provenance import development_credentials;"
        "print(development_credentials(sys.argv[1]).sha256)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c2pa")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert said[0] == said[1] == development_credentials(str(tmp_path / "c2pa")).sha256


def test_mistakes_in_own_credentials_name_the_setting_and_no_key(tmp_path: Path) -> None:
    one, two = (development_credentials(str(tmp_path / name)) for name in ("one", "two"))
    certificate, other_key = tmp_path / "one" / "certificate.pem", tmp_path / "two" / "key.pem"
    assert one.key != two.key
    for paths, says in (
        ((certificate, other_key), "MMRAG_C2PA_KEY .* is not the key of"),
        ((tmp_path / "no.pem", other_key), "MMRAG_C2PA_CERTIFICATE .* can't be read"),
        ((other_key, other_key), "holds no PEM certificate"),
        ((certificate, certificate), "holds no PEM key"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            open_credentials(*map(str, paths))
        assert "PRIVATE" not in str(caught.value)
