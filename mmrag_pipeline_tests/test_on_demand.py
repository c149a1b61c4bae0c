"""One picture now: the same again is free, two at once pay once, a person is asked first; through real Milvus Lite, the
demo model and the real SDK.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmrag_pipeline import cli_generate, wiring
from mmrag_pipeline.campaigns.backends.base import BackendInfo, GenerationRequest, Ok
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.ledger import Ledger
from mmrag_pipeline.cli import app
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.generate import GeneratedPicture, NoPicture, generate_picture
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, blocked_prompt, transport
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline, new_pipeline

CATALOGUE = "path,sku,title,tags\n" + "".join(f"{name}.png,L-{name},The {name} one,{name}\n" for name in COLOURS)


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pytest.MonkeyPatch.context() as environment:
        pipeline = new_pipeline(tmp_path_factory.mktemp("indexed"), environment)
        pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()}, CATALOGUE)
        pipeline.deliver("bags__2026-09", {"tan.png": (180, 140, 90)})
        assert pipeline.index() == 5
        yield pipeline


@pytest.fixture(scope="module")
def encoder(indexed_once: Pipeline) -> ClipEncoder:
    with pytest.MonkeyPatch.context() as environment:
        new_pipeline(indexed_once.root, environment)
        return wiring.encoder(indexed_once.settings)


@dataclass
class Shop:
    """A back end as it would call us: one model in memory, a ledger and a folder of pictures of its own."""

    pipeline: Pipeline
    encoder: ClipEncoder
    root: Path

    def picture(self, prompt: str = "a red cape on a chair", **options: object) -> GeneratedPicture:
        return generate_picture(prompt, **{"encoder": self.encoder, "settings": self.pipeline.settings, **options})

    @property
    def folders(self) -> list[Path]:
        return sorted(path.parent for path in self.root.rglob("plan.parquet"))

    @property
    def spent(self) -> float:
        return Ledger(self.pipeline.settings.ledger_file).spent()


@pytest.fixture
def shop(indexed_once: Pipeline, encoder: ClipEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    pipeline = new_pipeline(indexed_once.root, monkeypatch)
    monkeypatch.setenv("MMRAG_MILVUS_URI", str(indexed_once.root / "store" / "milvus.db"))
    monkeypatch.setenv("MMRAG_STORE", str(tmp_path / "shop"))
    return Shop(pipeline, encoder, tmp_path / "shop" / "campaigns")


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    with GeminiServer() as running:
        yield running
        assert running.problems == []


@pytest.fixture
def gemini(server: GeminiServer) -> Iterator[GeminiBackend]:
    backend = GeminiBackend(api_key=server.key, base_url=server.url, timeout_s=20)
    yield backend
    backend.close()


def test_a_picture_is_made_from_what_was_found_and_its_sidecar_says_so(
    shop: Shop, gemini: GeminiBackend, server: GeminiServer
) -> None:
    made = shop.picture(find=["something red"], aspect_ratio="4:5", backend=gemini)
    assert made.made_now and not made.preview and (made.width, made.height) == (928, 1152)
    assert Image.open(made.file).size == (928, 1152) and made.mime == "image/jpeg"
    sidecar = json.loads(made.sidecar.read_text())
    assert sidecar["picture"]["sha256"] == hashlib.sha256(made.file.read_bytes()).hexdigest()
    assert [r.path for r in made.references] == ["red.png"] and made.references[0].score is not None
    (request,) = server.requests
    assert request.references == tuple(r.sha256 for r in made.references)
    assert any("Scene: a red cape on a chair" in text for text in request.texts)
    assert made.usd > 0 and shop.spent == pytest.approx(made.usd, abs=1e-5)
    assert made.file.parts[-5:-3] == ("on-demand", made.file.parts[-4]) or "on-demand" in made.file.parts


def test_exactly_the_same_is_free_and_anything_else_is_another(
    shop: Shop, gemini: GeminiBackend, server: GeminiServer
) -> None:
    first = shop.picture(backend=gemini)
    again = shop.picture("  a red cape\n on a chair ", backend=gemini, encoder=None)  # no model is needed
    assert (again.key, again.file, again.made_now, again.usd) == (first.key, first.file, False, 0.0)
    assert len(server.requests) == 1
    more = shop.picture(backend=gemini, another=True)
    assert more.made_now and more.key != first.key and more.file.read_bytes() != b""
    assert shop.picture(backend=gemini).key == more.key, "the newest of the same"
    other = shop.picture(backend=gemini, aspect_ratio="16:9")
    assert other.made_now and len(server.requests) == 3 and len(shop.folders) == 3


def test_a_preview_never_stands_for_a_picture(shop: Shop, gemini: GeminiBackend, server: GeminiServer) -> None:
    preview = shop.picture(backend="preview")
    assert preview.preview and preview.usd == 0 and preview.file.name.startswith("PREVIEW-")
    assert not shop.picture(backend=gemini).preview and len(server.requests) == 1


@dataclass
class OwnBackend:
    """Somebody's own: one colour for every request."""

    info: BackendInfo
    asked: list[GenerationRequest] = field(default_factory=list)

    def generate(self, request: GenerationRequest) -> Ok:
        self.asked.append(request)
        sink = io.BytesIO()
        Image.new("RGB", request.pixels, (170, 40, 60)).save(sink, "PNG")
        return Ok(sink.getvalue(), "png", *request.pixels)


@pytest.mark.parametrize("paid", [True, False])
def test_a_backend_of_ones_own_makes_pictures_too(shop: Shop, paid: bool) -> None:
    own = OwnBackend(BackendInfo("own", version="1", paid=paid))
    made = shop.picture(backend=own)
    assert made.made_now and not made.preview and Image.open(made.file).getpixel((9, 9)) == (170, 40, 60)
    assert len(own.asked) == 1 and own.asked[0].references[0].sha256 == made.references[0].sha256
    assert (made.usd > 0) == paid and shop.spent == pytest.approx(made.usd, abs=1e-5)
    again = shop.picture(backend=own)
    assert (again.file, again.made_now, len(own.asked)) == (made.file, False, 1)
    assert "approved" in ran("campaign", "approve", made.key)


def test_many_threads_that_ask_for_the_same_pay_once(shop: Shop, gemini: GeminiBackend, server: GeminiServer) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(shop.picture, "a green cape", backend=gemini) for _ in range(6)]
        pictures = [future.result() for future in asked]
    assert len({picture.key for picture in pictures}) == 1 and len(server.requests) == 1
    assert sum(picture.made_now for picture in pictures) == 1 and len(shop.folders) == 1


def test_many_threads_that_ask_for_one_more_get_one_each(
    shop: Shop, gemini: GeminiBackend, server: GeminiServer
) -> None:
    with connect(wiring.milvus(shop.pipeline.settings)) as milvus, ThreadPoolExecutor(4) as pool:
        options = {"backend": gemini, "another": True, "milvus": milvus}
        asked = [pool.submit(shop.picture, "a blue cape", **options) for _ in range(4)]
        pictures = [future.result() for future in asked]
    assert len({picture.key for picture in pictures}) == len(server.requests) == 4
    assert sorted(folder.name.rpartition("-")[2] for folder in shop.folders) == ["1", "2", "3", "4"]


def test_pictures_of_ones_own_need_no_index(
    shop: Shop, gemini: GeminiBackend, server: GeminiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRAG_MILVUS_URI", str(tmp_path / "nowhere" / "milvus.db"))
    Image.effect_noise((300, 200), 60).convert("RGB").save(tmp_path / "mine.png")
    data = (tmp_path / "mine.png").read_bytes()
    made = shop.picture("a poster of it", images=[tmp_path / "mine.png"], backend=gemini, encoder=None)
    assert [(r.path, r.media_id, r.role) for r in made.references] == [("mine.png", "", "product")]
    assert "Given: image 1 shows what the picture is about." in made.prompt
    ingredients = json.loads(made.sidecar.read_text())["provenance"]["ingredients"]
    assert [one["title"] for one in ingredients] == ["Reference 1"] and b"mine.png" not in made.file.read_bytes()
    assert not shop.picture("a poster of it", images=[data], backend=gemini, encoder=None).made_now
    with pytest.raises(UserError, match=r"picture .*gone.png can't be read"):
        shop.picture("a poster", images=[tmp_path / "gone.png"])
    with pytest.raises(UserError, match="picture 1 is not a usable picture"):
        shop.picture("a poster", images=[b"no picture"])


def test_several_things_are_told_apart(shop: Shop) -> None:
    made = shop.picture("both on a chair", find=["something red", "something blue"], product_line="lunar")
    assert [r.path for r in made.references] == ["red.png", "blue.png"]
    assert 'image 1 shows what is meant by "something red"' in made.prompt
    assert 'image 2 shows what is meant by "something blue"' in made.prompt
    twice = shop.picture("it", find=["something red", "a red thing"], product_line="lunar")
    assert [r.path for r in twice.references] == ["red.png"] and twice.prompt.count("image 1 shows") == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompt": "  "}, "there is no prompt"),
        ({"prompt": "x" * 4001}, "say it in 4000"),
        ({"aspect_ratio": "7:3"}, "makes no aspect_ratio '7:3'"),
        ({"image_size": "9K"}, "makes no image_size '9K'"),
        ({"model": "gemini-nano-bananna-2.1"}, "did you mean gemini-nano"),
        ({"product_line": "lunnar"}, "did you mean lunar"),
        ({"backend": "dalle"}, "MMRAG_IMAGE_BACKEND"),
        ({"backend": "gemini"}, "MMRAG_GEMINI_API_KEY"),
        ({"find": [str(n) for n in range(20)]}, "20 products and pictures are more than the 14"),
    ],
)
def test_what_can_not_be_is_one_sentence_and_leaves_nothing_behind(
    shop: Shop, options: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError) as caught:
        shop.picture(**{"prompt": "a red cape", **options})
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert not shop.root.exists()


def test_no_picture_says_why_and_what_it_cost(
    shop: Shop, gemini: GeminiBackend, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults = [blocked_prompt(), transport("reset")]
    with pytest.raises(NoPicture, match="word it differently") as blocked:
        shop.picture("a blocked one", backend=gemini)
    assert blocked.value.cause == "blocked"
    with pytest.raises(NoPicture, match="word it differently"):
        shop.picture("a blocked one", backend=gemini)
    assert len(server.requests) == 1, "what was blocked is not sent again"
    with pytest.raises(NoPicture, match="--another") as unsure:
        shop.picture("an unsure one", backend=gemini)
    assert unsure.value.cause == "ambiguous" and unsure.value.usd > 0
    with pytest.raises(NoPicture, match="--another"):
        shop.picture("an unsure one", backend=gemini)
    assert len(server.requests) == 2
    assert shop.picture("an unsure one", backend=gemini, another=True).made_now
    monkeypatch.setenv("MMRAG_BUDGET_USD_PER_DAY", str(shop.spent + 0.01))
    with pytest.raises(NoPicture, match="MMRAG_BUDGET_USD_PER_DAY") as poor:
        shop.picture("one too many", backend=gemini)
    assert poor.value.cause == "budget" and len(server.requests) == 3
    monkeypatch.delenv("MMRAG_BUDGET_USD_PER_DAY")
    assert shop.picture("one too many", backend=gemini).made_now, "it goes on where it stopped"


def test_nothing_is_written_before_it_is_agreed_to(shop: Shop, gemini: GeminiBackend, server: GeminiServer) -> None:
    seen = []
    with pytest.raises(NoPicture, match="nothing was spent"):
        shop.picture(backend=gemini, agree=lambda planned: bool(seen.append(planned)))
    assert not shop.root.exists() and server.requests == []
    assert seen[0].usd == pytest.approx(0.0336 + 0.00168 + 0.012) and seen[0].references[0].path == "red.png"
    shop.picture(backend=gemini, agree=lambda planned: True)
    shop.picture(backend=gemini, agree=lambda planned: pytest.fail("it is there: nobody has to be asked"))


def test_pictures_on_demand_are_reviewed_and_exported_like_others(
    shop: Shop, gemini: GeminiBackend, tmp_path: Path
) -> None:
    made = shop.picture(backend=gemini)
    assert "approved" in ran("campaign", "approve", made.key[:8])
    ran("campaign", "export", str(tmp_path / "out"))
    (exported,) = (tmp_path / "out").rglob("*.jpg")
    assert exported.read_bytes() == made.file.read_bytes()
    where = f"on-demand__{'/'.join(made.file.parts[-4:-2])}"
    assert "already" in ran("campaign", "approve", made.key[:8], "--occurrence", where)


def test_a_rejected_picture_is_not_handed_out_again(shop: Shop, gemini: GeminiBackend, server: GeminiServer) -> None:
    first = shop.picture(backend=gemini)
    ran("campaign", "reject", first.key, "--reason", "the cape is orange")
    second = shop.picture(backend=gemini)
    assert second.made_now and second.key != first.key and len(server.requests) == 2
    assert shop.picture(backend=gemini).key == second.key and first.file.exists()
    third = shop.picture(backend=gemini, another=True)
    ran("campaign", "reject", third.key, "--reason", "no better")
    assert shop.picture(backend=gemini).key == second.key and len(server.requests) == 3, "that one is still good"
    ran("campaign", "approve", first.key)
    ran("campaign", "reject", second.key, "--reason", "the first is better")
    assert shop.picture(backend=gemini).key == first.key, "a rejection can be taken back"


def test_approved_pictures_on_demand_are_indexed_and_one_that_is_gone_keeps_no_other_from_it(
    shop: Shop, gemini: GeminiBackend, tmp_path: Path
) -> None:
    Image.effect_noise((300, 200), 60).convert("RGB").save(tmp_path / "mine.png")
    found = shop.picture(find=["something red"], backend=gemini)
    given = shop.picture("a poster of it", images=[tmp_path / "mine.png"], backend=gemini)
    ran("campaign", "approve", found.key, given.key)
    said = ran("campaign", "index")
    assert said.count("1 approved pictures in the index (1 written, 0 removed)") == 2
    assert generated() == {found.file.name: "lunar", given.file.name: "on-demand"}

    first, second = sorted((found, given), key=lambda one: str(one.file))
    data = first.file.read_bytes()
    first.file.write_bytes(b"altered")
    ran("campaign", "reject", second.key, "--reason", "no")
    result = mmrag("campaign", "index")
    assert result.exit_code == 1 and "(0 written, 1 removed)" in result.output
    (sentence,) = result.stderr.strip().splitlines()
    assert f"on-demand__{'/'.join(first.file.parts[-4:-2])}: the approved picture" in sentence
    assert set(generated()) == {first.file.name}
    first.file.write_bytes(data)
    assert ran("campaign", "index", "--remove").count("1 removed") == 1 and generated() == {}


def generated() -> dict[str, str]:
    """Product line of every generated picture in the index, by its file."""
    hits = json.loads(ran("search", "something", "--origin", "generated", "-k", "50", "--json"))
    return {hit["path"]: hit["product_line"] for hit in hits}


# the command


def mmrag(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed, env={"COLUMNS": "200"})


def ran(*arguments: str) -> str:
    result = mmrag(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def paid(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> GeminiServer:
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    monkeypatch.setenv("MMRAG_GEMINI_API_KEY", server.key)
    monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
    return server


def test_the_command_shows_what_it_found_and_the_cost_and_copies_the_picture(
    shop: Shop, paid: GeminiServer, tmp_path: Path
) -> None:
    said = ran("generate", "it lies on a chair", "--find", "something red", "--ratio", "4:5", "--yes", "--out", "out")
    assert all(
        words in said for words in ("The red one", "L-red", "red.png", "costs about 0.0473 USD, at most", "made for")
    )
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".jpg", ".json"]
    again = ran("generate", "it lies on a chair", "--find", "something red", "--ratio", "4:5")
    assert "made before, so it is free" in again and len(paid.requests) == 1
    assert paid.key not in said + again
    nowhere = mmrag("generate", "it lies on a chair", "--find", "something red", "--ratio", "4:5", "--out", __file__)
    assert nowhere.exit_code == 2 and "can't be written" in nowhere.stderr


def test_without_a_terminal_and_without_yes_it_refuses(shop: Shop, paid: GeminiServer) -> None:
    result = mmrag("generate", "a red cape")
    assert result.exit_code == 2 and result.stderr.strip().endswith("give --yes to make it.")
    assert len(result.stderr.strip().splitlines()) == 1
    assert paid.requests == [] and not shop.root.exists()


@pytest.mark.parametrize(("typed", "requests"), [("n\n", 0), ("y\n", 1)])
def test_at_a_terminal_it_asks(
    shop: Shop, paid: GeminiServer, monkeypatch: pytest.MonkeyPatch, typed: str, requests: int
) -> None:
    monkeypatch.setattr(cli_generate, "at_a_terminal", lambda: True)
    result = mmrag("generate", "a red cape", typed=typed)
    assert "Make it?" in result.output and len(paid.requests) == requests
    assert result.exit_code == (0 if requests else 1)
