"""Whose prices hold; and that no answer within the limit that was sent can cost more than was reserved for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag_pipeline.campaigns.backends.base import Card, GenerationRequest, ReferencePicture
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.ledger import Caps
from mmrag_pipeline.campaigns.prices import Prices, TokenPrices, load_prices
from mmrag_pipeline.campaigns.registry import REFERENCE_TOKENS, image_model, load_registry
from mmrag_pipeline.campaigns.requests import ceiling_of, request_for
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import MODEL, Desk
from mmrag_pipeline_tests.integration.gemini_faults import parts, picture, usage
from mmrag_pipeline_tests.integration.gemini_server import KEY, GeminiServer
from mmrag_pipeline_tests.pipeline import Pipeline

OWN = """\
version: contract 7
usd_per_million_tokens:
  gemini-nano-banana-2.1: {input: 3, output: 15, image: 60}
"""
CARD = Card("", "", "", "", "", "", "1", "", "", ())


@pytest.fixture
def price_file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "prices.yaml").write_text(text)
        return str(tmp_path / "prices.yaml")

    return write


def request_of(model: str, size: str, prompt: str, system: str, labels: list[str]) -> GenerationRequest:
    references = tuple(ReferencePicture(b"", "image/jpeg", "", label) for label in labels)
    return GenerationRequest("k", model, prompt, system, references, "1:1", size, (64, 64), 1, 1.0, CARD)


MODELS = st.sampled_from(sorted(load_registry().models))
DOLLARS = st.floats(0.01, 500)
PRICES = st.one_of(
    st.just(Prices()),
    st.builds(
        lambda model, i, o, p: Prices({model: TokenPrices(input=i, output=o, image=p)}, "x"),
        MODELS,
        DOLLARS,
        DOLLARS,
        DOLLARS,
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    prices=PRICES,
    model=MODELS,
    prompt=st.text(max_size=3000),
    system=st.text(max_size=500),
    labels=st.lists(st.text(max_size=60), max_size=14),
    data=st.data(),
)
def test_no_bill_passes_its_reservation(
    prices: Prices, model: str, prompt: str, system: str, labels: list[str], data: st.DataObject
) -> None:
    """Any request, any split of what may be answered into thoughts, words and pictures, any prices."""
    priced = prices.of(image_model(model))
    request = request_of(model, data.draw(st.sampled_from(priced.sizes)), prompt, system, labels)
    texts = sum(len(text.encode("utf-8", "surrogatepass")) for text in (prompt, system, *labels))

    def upto(most: int) -> int:
        return data.draw(st.one_of(st.just(most), st.integers(0, most)))

    sent = upto(texts) + REFERENCE_TOKENS * len(labels)
    answered = max(1, upto(priced.output_limit(request.image_size)))
    shown = upto(answered)
    thoughts = upto(answered - shown)
    found = usage(pictures=shown, words=answered - thoughts - shown, thoughts=thoughts, prompt=sent)
    if data.draw(st.booleans()):
        del found["candidatesTokensDetails"]
    bill = prices.bill(found, model, pictures=data.draw(st.integers(0, 3)))
    assert bill is not None and bill.table == priced.price_table
    assert 0 < bill.usd <= ceiling_of(request, priced) + 1e-9


@pytest.mark.parametrize("name", load_registry().models)
def test_the_registry_agrees_with_the_list(name: str) -> None:
    own, listed = image_model(name), Prices().of(image_model(name))
    assert own.usd_per_mtok == listed.usd_per_mtok and listed.price_table.startswith("genai-prices ")
    for size in own.sizes:
        assert own.price(size, references=3) == pytest.approx(listed.price(size, references=3))
        assert own.price(size, references=3) < listed.ceiling(size, references=3, text_tokens=900)


def test_long_lists_are_reserved_for_and_the_plan_says_estimate_and_ceiling(lay_out: Callable[..., Desk]) -> None:
    rules = "\n".join(f"    - {'very ' * 390}{n}" for n in range(20))
    short, long = lay_out(), lay_out(("  tone: quiet", f"  tone: quiet\n  do:\n{rules}\n  dont:\n{rules}"))
    for desk in (short, long):
        variant = desk.plan.variants[0]
        request = request_for(desk.plan, variant, desk.references)
        assert variant.ceiling_usd == ceiling_of(request, Prices().of(image_model(MODEL))) > variant.estimated_usd
    more = long.plan.variants[0].ceiling_usd - short.plan.variants[0].ceiling_usd
    assert more > 70_000 * 1.5e-6, "eighty kilobytes more to read"
    assert long.plan.estimated_usd == short.plan.estimated_usd
    assert long.plan.ceiling_usd == sum(variant.ceiling_usd for variant in long.plan.variants)


def test_the_dearest_answer_that_the_limit_allows_is_within_the_cap(
    lay_out: Callable[..., Desk], gemini: GeminiBackend, server: GeminiServer
) -> None:
    """Over the wire: the server fills the limit that it was sent with pictures."""
    desk = lay_out()

    def dearest(received: object) -> object:
        limit = received.config["maxOutputTokens"]
        shown = [picture(width=160, height=200) for _ in range(3)]
        sent = sum(len(text.encode()) for text in received.texts) + REFERENCE_TOKENS * len(received.references)
        return parts(*shown, usageMetadata=usage(pictures=limit, prompt=sent)).body

    server.answer = dearest
    ceiling = desk.plan.variants[0].ceiling_usd
    report = desk.make(gemini, caps=Caps(day_usd=1.9 * ceiling))
    assert report.counts["made"] == 1 and report.counts["skipped_budget"] == 1, "a second could pass the cap"
    assert 0.9 * ceiling < desk.ledger.spent() <= ceiling, "a bound, and not a wide one"


def test_an_own_file_wins_and_moves_estimates_and_ceilings(price_file: Callable[[str], str]) -> None:
    prices, listed = load_prices(price_file(OWN)), Prices()
    ours, theirs = prices.of(image_model(MODEL)), listed.of(image_model(MODEL))
    assert ours.price_table == "MMRAG_PRICES contract 7"
    assert ours.price("2K", references=2) == pytest.approx(2 * theirs.price("2K", references=2))
    assert ours.output_limit("2K") == theirs.output_limit("2K")
    assert ours.ceiling("1K", references=1, text_tokens=9) == pytest.approx(
        2 * theirs.ceiling("1K", references=1, text_tokens=9)
    )
    found = usage(pictures=1120, thoughts=90)
    bills = [each.bill(found, MODEL, pictures=1) for each in (prices, listed)]
    assert bills[0].usd == pytest.approx(2 * bills[1].usd) and bills[0].table == "MMRAG_PRICES contract 7"
    assert prices.of(image_model("gemini-3-pro-image")).price_table.startswith("genai-prices ")
    assert load_prices(None) == listed


def test_a_model_that_the_list_does_not_have_has_the_registrys_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmrag_pipeline.campaigns.prices._listed", lambda _: None)
    assert Prices().of(image_model(MODEL)).price_table == f"registry {load_registry().version}"
    assert Prices().bill(usage(pictures=1120), MODEL, pictures=1).usd == pytest.approx(0.0336 + 1400 * 1.5e-6)


@pytest.mark.parametrize("found", [{}, {"promptTokenCount": 7}, {"totalTokenCount": 0}, usage(pictures=-4, prompt=9)])
def test_a_usage_that_can_not_be_priced_is_none(found: dict[str, object]) -> None:
    assert Prices().bill(found, MODEL, pictures=1) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: [", "is not readable as YAML: line 1"),
        ("", "the whole file"),
        ("usd_per_million_tokens: {gemini-nano-banana-2.1: {input: 1, output: 1, image: 1}}", "'version' is missing"),
        (OWN.replace("image:", "imgae:"), "did you mean 'image'"),
        (OWN.replace("60", "free"), "image: input should be a valid number"),
        (OWN.replace("60", "0"), "greater than 0"),
        (OWN.replace("banana-2.1", "banana-2"), "did you mean gemini-nano-banana-2.1"),
    ],
)
def test_a_mistake_in_an_own_file_is_one_sentence(text: str, says: str, price_file: Callable[[str], str]) -> None:
    with pytest.raises(UserError, match="MMRAG_PRICES") as caught:
        load_prices(price_file(text))
    assert says in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"MMRAG_PRICES=.*gone\.yaml can't be read"):
        load_prices("gone.yaml")


def test_the_sidecar_says_whose_prices_they_were(
    lay_out: Callable[..., Desk], server: GeminiServer, price_file: Callable[[str], str]
) -> None:
    prices, desk = load_prices(price_file(OWN)), lay_out()
    desk.make(GeminiBackend(api_key=KEY, base_url=server.url, prices=prices), prices=prices)
    costs = [json.loads(path.read_text())["cost"] for path in desk.images.glob("*.json")]
    assert {cost["price_table"] for cost in costs} == {"MMRAG_PRICES contract 7"}
    assert desk.ledger.spent() == pytest.approx(sum(cost["usd"] for cost in costs), abs=1e-5)
    for cost in costs:
        assert cost["usd"] == pytest.approx(2 * (0.0336 + 1400 * 1.5e-6 + 90 * 7.5e-6))


def test_the_settings_reach_the_resource(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, price_file: Callable[[str], str]
) -> None:
    monkeypatch.setenv("MMRAG_PRICES", price_file(OWN))
    monkeypatch.setenv("MMRAG_BUDGET_USD_PER_RUN", "3")
    resource = defs().resources["image_backend"]
    assert resource.price_list().version == "contract 7" and resource.budget_usd_per_run == 3
    monkeypatch.setenv("MMRAG_PRICES", "gone.yaml")
    with pytest.raises(UserError, match="MMRAG_PRICES"):
        defs().resources["image_backend"].price_list()
