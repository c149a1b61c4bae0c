"""After the picture: the paid bytes are kept, everything after them is free, and the file says what it is."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from mmrag_pipeline.campaigns import maker, records
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.finishing.finisher import Finisher
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.ledger import Ledger
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.provenance import Credentials, development_credentials, verify
from mmrag_pipeline.campaigns.provenance.credentials import NAME
from mmrag_pipeline.cli import app
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, Received, picture_body

LayOut = Callable[..., Desk]
WITH_LINES = ("brand:", "overlay: {headline: Time well kept, price: 1.290 EUR, legal: While stocks last.}\nbrand:")


def photo(received: Received, size: tuple[int, int] = (928, 1152)) -> Image.Image:
    """Something with edges everywhere, another for each seed."""
    seed = int(received.config["seed"]) % 200
    noise = Image.effect_noise((size[0] // 8, size[1] // 8), 90).resize(size)
    return ImageOps.colorize(noise, (seed, 20, 60), (255 - seed // 2, 230, 200))


def answering(server: GeminiServer, format_: str = "JPEG", size: tuple[int, int] = (928, 1152)) -> list[bytes]:
    """Make the server answer photos in a format; returns the list of what it sent."""
    sent: list[bytes] = []

    def answer(received: Received) -> Any:
        sink = io.BytesIO()
        photo(received, size).save(sink, format_)
        sent.append(sink.getvalue())
        body = picture_body(received, 8, 8)
        body["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"] = base64.b64encode(sent[-1]).decode()
        return body

    server.answer = answer
    return sent


def sidecars(desk: Desk) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(desk.images.glob("*.json"))}


def pictures(desk: Desk) -> list[Path]:
    return sorted(path for path in desk.images.iterdir() if path.suffix != ".json")


def looks(desk: Desk) -> dict[str, str]:
    return {key: sidecar["finish"]["look_sha256"] for key, sidecar in sidecars(desk).items()}


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_run_keeps_the_paid_bytes_and_its_pictures_say_what_they_are(
    format_: str, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, tmp_path: Path
) -> None:
    sent, desk = answering(server, format_), lay_out(WITH_LINES)
    desk.make(gemini)
    assert sorted(file.read_bytes() for file in desk.originals.iterdir()) == sorted(sent) and len(sent) == 2
    for key, sidecar in sidecars(desk).items():
        variant = next(variant for variant in desk.plan.variants if variant.key == key)
        file = desk.images / sidecar["picture"]["file"]
        with Image.open(file) as image:
            assert (image.size, image.format) == ((540, 675), format_)
        assert sidecar["original"]["width"] == 928 and sidecar["picture"]["bytes"] == file.stat().st_size
        report = verify(file)
        assert (report.state, report.xmp, report.model) == ("valid", "trainedAlgorithmicMedia", desk.plan.model)
        assert [i.sha256 for i in report.ingredients] == [r.sha256 for r in variant.references]
        assert sidecar["provenance"]["manifest"] == report.manifest and sidecar["provenance"]["self_made"]
        changed = bytearray(file.read_bytes())
        changed[len(changed) // 2] ^= 1
        (tmp_path / file.name).write_bytes(changed)
        assert verify(tmp_path / file.name).state == "invalid"


def no_original(killing: pytest.MonkeyPatch) -> None:
    killing.setattr(maker, "write_bytes", interrupted)


def no_picture(killing: pytest.MonkeyPatch) -> None:
    killing.setattr(Finisher, "finish", interrupted)


def half_a_picture(killing: pytest.MonkeyPatch) -> None:
    write = maker.write_bytes

    def once(path: Any, data: bytes) -> None:
        if path.parent.name == "images":
            raise KeyboardInterrupt
        write(path, data)

    killing.setattr(maker, "write_bytes", once)


def no_sidecar(killing: pytest.MonkeyPatch) -> None:
    killing.setattr(records, "write_sidecar", interrupted)


def no_settlement(killing: pytest.MonkeyPatch) -> None:
    killing.setattr(Ledger, "settle", interrupted)


@pytest.mark.parametrize(
    ("kill", "requests"), [(no_original, 3), (no_picture, 2), (half_a_picture, 2), (no_sidecar, 2), (no_settlement, 2)]
)
def test_killed_at_any_step_it_is_paid_once_and_ends_the_same(
    kill: Callable[[pytest.MonkeyPatch], None],
    requests: int,
    lay_out: LayOut,
    gemini: GeminiBackend,
    server: GeminiServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = lay_out(WITH_LINES)
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        kill(killing)
        desk.make(gemini)
    report = desk.make(gemini)
    assert report.counts["made"] + report.counts["skipped_existing"] == 2
    assert len(server.requests) == requests
    undisturbed = looks(desk)
    assert len(pictures(desk)) == len(list(desk.originals.iterdir())) == len(undisturbed) == 2
    assert all(verify(file).ok for file in pictures(desk))
    assert desk.ledger.spent() >= server.billed_usd
    assert desk.make(gemini).requests == 0 and len(server.requests) == requests
    for folder in (desk.images, desk.originals):
        for file in folder.iterdir():
            file.unlink()
    desk.make(gemini)
    assert looks(desk) == undisturbed


def test_killed_while_it_is_finished_again_nothing_is_lost(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = lay_out()
    desk.make(gemini)
    lined = lay_out(WITH_LINES)
    for kill in (no_picture, half_a_picture):
        with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
            kill(killing)
            lined.make(gemini)
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(maker, "write_json", interrupted)  # the new picture is there, its sidecar is still the old one
        lined.make(gemini)
    report = lined.make(gemini)
    assert (report.refinished, report.requests, len(server.requests)) == (2, 0, 2)
    assert all(verify(file).ok for file in pictures(lined)) and lined.make(gemini).refinished == 0


def test_a_lost_sidecar_costs_nothing(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    spent = desk.make(gemini).spent_usd
    before = looks(desk)
    next(desk.images.glob("*.json")).unlink()
    report = desk.make(gemini)
    assert (report.counts["skipped_existing"], report.requests, len(server.requests)) == (2, 0, 2)
    assert looks(desk) == before and desk.ledger.spent() == pytest.approx(spent, abs=1e-5)
    assert sum(s["cost"]["usd"] for s in sidecars(desk).values()) == pytest.approx(spent, abs=1e-5)


def test_an_altered_original_is_not_finished_and_never_overwrites_a_whole_picture(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    desk.make(gemini)
    altered = sorted(desk.originals.iterdir())[0]
    altered.write_bytes(b"altered")
    before = {file: file.read_bytes() for file in pictures(desk)}
    assert desk.make(gemini).refinished == 0 and {file: file.read_bytes() for file in pictures(desk)} == before
    report = lay_out(WITH_LINES).make(gemini)
    assert (report.refinished, report.requests) == (1, 0) and any("original is gone" in said for said in report.reasons)
    (desk.images / altered.name).unlink()
    assert lay_out(WITH_LINES).make(gemini).counts["made"] == 1 and len(server.requests) == 3


def test_another_line_refinishes_what_is_there_for_nothing(
    lay_out: LayOut, write_brief: Callable[..., Brief], gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out(WITH_LINES)
    desk.make(gemini)
    before, originals = looks(desk), {f.name: f.read_bytes() for f in desk.originals.iterdir()}
    cheaper = write_brief((WITH_LINES[0], WITH_LINES[1].replace("1.290", "990")))
    assert desk.plan.is_for(cheaper, backend_name="gemini", model=desk.plan.model)
    changed = replace(desk, plan=desk.plan.with_finish_of(cheaper))
    assert [v.key for v in changed.plan.variants] == [v.key for v in desk.plan.variants]
    report = changed.make(gemini)
    assert (report.refinished, report.requests, report.spent_usd, len(server.requests)) == (2, 0, 0, 2)
    assert all(looks(changed)[key] != look for key, look in before.items())
    assert {f.name: f.read_bytes() for f in desk.originals.iterdir()} == originals
    assert {s["finish"]["lines"]["price"] for s in sidecars(changed).values()} == {"990 EUR"}
    desk.make(gemini)
    assert looks(desk) == before, "the same recipe gives the same pixels"


def test_another_final_size_is_no_other_picture(
    lay_out: LayOut, write_brief: Callable[..., Brief], gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    desk.make(gemini)
    larger = write_brief(("[540, 675]", "[864, 1080]"))
    assert desk.plan.is_for(larger, backend_name="gemini", model=desk.plan.model)
    report = replace(desk, plan=desk.plan.with_finish_of(larger)).make(gemini)
    assert (report.refinished, len(server.requests)) == (2, 2)
    assert {Image.open(file).size for file in pictures(desk)} == {(864, 1080)}


def test_a_preview_of_another_size_is_drawn_anew(
    lay_out: LayOut, write_brief: Callable[..., Brief], preview: PreviewBackend
) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    larger = replace(desk, plan=desk.plan.with_finish_of(write_brief(("[540, 675]", "[1080, 1350]"))))
    assert larger.make(preview).counts["made"] == 2
    assert {Image.open(file).size for file in (*pictures(desk), *desk.originals.iterdir())} == {(1080, 1350)}
    assert all(verify(file).xmp == "compositeSynthetic" and verify(file).ok for file in pictures(desk))
    lined = replace(larger, plan=larger.plan.with_finish_of(write_brief(WITH_LINES, ("[540, 675]", "[1080, 1350]"))))
    report = lined.make(preview)
    assert (report.counts["skipped_existing"], report.refinished, report.requests) == (2, 2, 0)


def test_originals_of_previews_that_nobody_asks_for_go_with_them(lay_out: LayOut, preview: PreviewBackend) -> None:
    lay_out(backend="preview").make(preview)
    changed = lay_out(("in a suit", "in a coat"), backend="preview")
    changed.make(preview)
    assert {file.name for file in changed.originals.iterdir()} == {file.name for file in pictures(changed)}
    assert len(pictures(changed)) == 2


def test_pictures_of_a_version_that_finished_nothing_are_finished(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    sent = answering(server)
    desk.make(gemini)
    for sidecar in sidecars(desk).values():
        name = sidecar["original"]["file"]
        (desk.images / name).write_bytes((desk.originals / name).read_bytes())
        (desk.originals / name).unlink()
        old = {k: v for k, v in sidecar.items() if k not in ("original", "finish", "provenance")}
        old["picture"] = sidecar["original"]
        (desk.images / f"{sidecar['key']}.json").write_text(json.dumps(old))
    report = desk.make(gemini)
    assert (report.refinished, report.requests, len(server.requests)) == (2, 0, 2)
    assert sorted(file.read_bytes() for file in desk.originals.iterdir()) == sorted(sent)
    assert all(verify(file).ok for file in pictures(desk))


def campaign(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["campaign", *arguments], env={"COLUMNS": "300"})


@pytest.fixture
def approved(
    lay_out: LayOut, gemini: GeminiBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: GeminiServer
) -> Desk:
    monkeypatch.setenv("MMRAG_STORE", str(tmp_path / "store"))
    answering(server)
    desk = lay_out(WITH_LINES)
    write_plan(desk.folder / "plan.parquet", desk.plan)
    desk.make(gemini)
    for variant in desk.plan.variants:
        assert campaign("approve", variant.key).exit_code == 0
    return desk


def test_an_exported_picture_still_says_what_it_is(approved: Desk, tmp_path: Path) -> None:
    assert campaign("export", str(tmp_path / "out")).exit_code == 0
    exported = sorted((tmp_path / "out").rglob("*.jpg"))
    result = campaign("verify", *map(str, exported))
    assert result.exit_code == 0 and len(exported) == 2
    assert result.output.count("trusted: trainedAlgorithmicMedia made by gemini-nano-banana-2.1 from 2 references") == 2
    assert NAME in result.output
    Image.open(exported[0]).save(exported[0])
    again = campaign("verify", *map(str, exported))
    assert again.exit_code == 1 and "absent: the file holds no C2PA manifest" in again.output
    assert again.output.count("trusted:") == 1
    assert campaign("verify", str(tmp_path / "none.jpg")).exit_code == 2


def test_an_approval_holds_for_what_was_looked_at_not_for_another_price(
    approved: Desk, write_brief: Callable[..., Brief], gemini: GeminiBackend, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    campaign("export", str(out))
    before = {file.name: file.read_bytes() for file in out.rglob("*.jpg")}
    pictures(approved)[0].unlink()  # finished and signed anew: other bytes, the same picture
    approved.make(gemini)
    assert campaign("export", str(out)).exit_code == 0
    now = {file.name: file.read_bytes() for file in out.rglob("*.jpg")}
    assert sum(now[name] != data for name, data in before.items()) == 1
    assert all(verify(file).ok for file in out.rglob("*.jpg"))

    dearer = write_brief((WITH_LINES[0], WITH_LINES[1].replace("1.290", "1.490")))
    changed = replace(approved, plan=approved.plan.with_finish_of(dearer))
    write_plan(changed.folder / "plan.parquet", changed.plan)
    changed.make(gemini)
    refused = campaign("export", str(out))
    assert refused.exit_code == 2 and "2 pictures wait for a decision" in " ".join(refused.output.split())
    with next(out.rglob("manifest.csv")).open() as file:
        assert list(csv.DictReader(file)) == [], "what may not go out any more is off the list"
    page = Path(str(write_gallery(changed.plan, folder=changed.folder, references=changed.references).path)).read_text()
    assert page.count("The file has changed since.") == 2
    assert campaign("approve", changed.plan.variants[0].key).exit_code == 0
    assert campaign("export", str(out)).exit_code == 0


def test_a_rejection_stays_whatever_is_drawn_on_the_picture(
    approved: Desk, write_brief: Callable[..., Brief], gemini: GeminiBackend
) -> None:
    key = approved.plan.variants[0].key
    campaign("reject", key, "--reason", "Six fingers.")
    replace(approved, plan=approved.plan.with_finish_of(write_brief())).make(gemini)
    page = Path(str(write_gallery(approved.plan, folder=approved.folder, references=approved.references).path))
    assert "Six fingers." in page.read_text() and "The next run of campaign_images makes another" in page.read_text()


def test_another_certificate_signs_again_for_nothing(
    approved: Desk, gemini: GeminiBackend, server: GeminiServer, tmp_path: Path
) -> None:
    other = development_credentials(str(tmp_path / "other"))
    before = looks(approved)
    report = approved.make(gemini, credentials=other)
    assert (report.refinished, report.requests, len(server.requests)) == (2, 0, 2) and looks(approved) == before
    assert all(verify(file, anchors=other.certificate).state == "trusted" for file in pictures(approved))
    assert approved.make(gemini, credentials=other).refinished == 0
    assert all(one.exit_code == 0 for one in [campaign("export", str(tmp_path / "out"))]), "still approved"


def test_a_certificate_that_cannot_sign_is_known_before_anything_is_paid(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, tmp_path: Path
) -> None:
    made = development_credentials(str(tmp_path / "one"))
    wrong = Credentials(made.certificate, made.key, "es384", made.signer)
    desk = lay_out()
    with pytest.raises(UserError, match=r"can't sign pictures .*MMRAG_C2PA_CERTIFICATE"):
        desk.make(gemini, credentials=wrong)
    assert server.requests == [] and desk.ledger.spent() == 0


def test_the_gallery_names_the_origin(approved: Desk, gemini: GeminiBackend) -> None:
    page = Path(str(write_gallery(approved.plan, folder=approved.folder, references=approved.references).path))
    assert page.read_text().count(f"trainedAlgorithmicMedia from 2 references, signed by {NAME}") == 2


def test_a_plan_keeps_logo_and_lines(lay_out: LayOut, tmp_path: Path) -> None:
    Image.new("RGBA", (40, 20), (200, 10, 10, 128)).save(tmp_path / "logo.png")
    desk = lay_out(WITH_LINES, ("brand:", "brand:\n  logo: logo.png"))
    assert desk.plan.finishing.logo == (tmp_path / "logo.png").read_bytes() and len(desk.plan.finishing.lines) == 3
    write_plan(desk.folder / "plan.parquet", desk.plan)
    assert read_plan(desk.folder / "plan.parquet") == desk.plan
