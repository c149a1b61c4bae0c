"""The JSON Schema of briefs for editors, from the same models that read them.

What pydantic can't know is added: keys that are filled in when a brief is loaded, short forms, and the words that the
registry of image models allows.
"""

from __future__ import annotations

from typing import Any

from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.registry import load_registry

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def brief_schema() -> dict[str, Any]:
    """A draft 2020-12 schema that every good brief satisfies."""
    schema = Brief.model_json_schema()
    parts, models = schema["$defs"], load_registry().models
    schema["required"].remove("campaign")
    schema["properties"]["campaign"]["description"] = "Default: the name of the file."
    _one_of(schema["properties"]["model"], sorted(models))
    ratios = dict.fromkeys(ratio for model in models.values() for ratio in model.ratios)
    sizes = dict.fromkeys(size for model in models.values() for size in model.sizes)
    parts["Placement"]["properties"]["aspect_ratio"]["enum"] = list(ratios)
    size = parts["Placement"]["properties"]["image_size"]
    size["enum"] = [*sizes, *([512] if "512" in sizes else [])]
    size.pop("type")
    parts["Brand"]["properties"]["palette"]["items"] = {
        "anyOf": [{"type": "string", "minLength": 1, "maxLength": 2000}, {"$ref": "#/$defs/Colour"}]
    }
    return {"$schema": DIALECT, "title": "Campaign brief of mmrag_pipeline", **_without_noise(schema)}


def _one_of(nullable: dict[str, Any], words: list[str]) -> None:
    for choice in nullable["anyOf"]:
        if choice.get("type") == "string":
            choice["enum"] = words


def _without_noise(node: Any) -> Any:
    """Without the titles that pydantic makes of names: editors show them in place of the descriptions."""
    if isinstance(node, list):
        return [_without_noise(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return {key: _without_noise(value) for key, value in kept.items()}
