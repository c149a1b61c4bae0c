"""Nothing is sent that the model would refuse, and a reservation is never below the bill."""

from __future__ import annotations

from datetime import date

import pytest

from mmrag_pipeline.campaigns.registry import default_model, image_model, load_registry
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import Settings


def test_the_default_is_alive_and_the_settings_agree() -> None:
    assert Settings.model_fields["gemini_model"].default == default_model()
    image_model(default_model()).require_alive(date(2026, 11, 21))


def test_a_retired_model_names_its_successor() -> None:
    with pytest.raises(UserError, match=r"shut down on 2026-10-02.*gemini-nano-banana-2\.1"):
        image_model("gemini-2.5-flash-image").require_alive(date(2026, 10, 2))
    image_model("gemini-2.5-flash-image").require_alive(date(2026, 10, 1))


def test_pixels_grow_with_the_size() -> None:
    model = image_model("gemini-nano-banana-2.1")
    assert model.pixels("4:5", "1K") == (928, 1152) and model.pixels("4:5", "4K") == (3712, 4608)


def test_extreme_ratios_and_references_are_held_to_the_model() -> None:
    pro, old = image_model("gemini-3-pro-image"), image_model("gemini-2.5-flash-image")
    with pytest.raises(UserError, match="makes no aspect_ratio '1:8'"):
        pro.require(ratio="1:8", size="1K", references=1, where="here")
    with pytest.raises(UserError, match="4 references are more than the 3"):
        old.require(ratio="1:1", size="1K", references=4, where="here")
    with pytest.raises(UserError, match="makes no image_size '2K'"):
        old.require(ratio="1:1", size="2K", references=1, where="here")


@pytest.mark.parametrize("name", [n for n in load_registry().models if "preview" not in n])
def test_the_upper_bound_covers_what_the_price_list_says_of_a_full_answer(name: str) -> None:
    from genai_prices import extract_usage

    model = image_model(name)
    output = {"gemini-2.5-flash-image": 1290}.get(name, 1120)
    usage = {"promptTokenCount": 3 * 1120 + 900, "candidatesTokenCount": output, "thoughtsTokenCount": 900,
             "totalTokenCount": 9000,
             "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": output}]}  # fmt: skip
    found = extract_usage({"usageMetadata": usage, "modelVersion": name}, provider_id="google")
    assert model.usd_per_image["1K"] < float(found.calc_price().total_price) <= model.price("1K", references=3)
