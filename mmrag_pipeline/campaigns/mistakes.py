"""A brief's validation errors as sentences: which file, which key, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def sentences(error: ValidationError, model: type[BaseModel], file: str) -> list[str]:
    """One sentence for each mistake, in the order of the file's keys."""
    mistakes = error.errors(include_url=False)
    meant = {  # a misspelt key is one mistake, not two
        (*mistake["loc"][:-1], near)
        for mistake in mistakes
        if mistake["type"] == "extra_forbidden" and (near := _nearest(mistake["loc"], model))
    }
    return [
        f"{file}: {_say(mistake, model)}"
        for mistake in mistakes
        if not (mistake["type"] == "missing" and mistake["loc"] in meant)
    ]


def _say(mistake: Any, model: type[BaseModel]) -> str:
    place: Sequence[str | int] = mistake["loc"]
    key, parent = _path(place), _path(place[:-1])
    inside = f" in {parent}" if parent else ""
    match mistake["type"]:
        case "extra_forbidden":
            near = _nearest(place, model)
            hint = f"did you mean {near!r}?" if near else f"known keys: {', '.join(_keys(model, place[:-1]))}."
            return f"unknown key {str(place[-1])!r}{inside}: {hint}"
        case "missing":
            return f"the key {str(place[-1])!r} is missing{inside}: add it."
        case "value_error":
            said = str(mistake["ctx"]["error"])
            said += "" if said[-1] in ".?" else "."
            return f"{key}: {said}" if key else said
        case _:
            found = repr(mistake["input"])
            found = found if len(found) <= 60 else found[:59] + "…"
            said = mistake["msg"][0].lower() + mistake["msg"][1:]
            return f"{key or 'the whole file'}: {said}, but it is {found}; correct it."


def _nearest(place: Sequence[str | int], model: type[BaseModel]) -> str | None:
    return next(iter(difflib.get_close_matches(str(place[-1]), _keys(model, place[:-1]), n=1)), None)


def _path(place: Sequence[str | int]) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
