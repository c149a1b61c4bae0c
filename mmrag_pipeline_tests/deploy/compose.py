"""docker-compose.yml and deploy/example.env as docker compose reads them: merge keys, interpolation, env files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
COMPOSE, EXAMPLE = ROOT / "docker-compose.yml", ROOT / "deploy" / "example.env"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\}")


class Missing(ValueError):
    """A variable that has to be set is not; the message is the one in the file."""


def read_services() -> dict[str, dict[str, Any]]:
    """All services, those of profiles too, with nothing interpolated yet."""
    return yaml.safe_load(COMPOSE.read_text())["services"]


def example_values() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(EXAMPLE, interpolate=False).items()}


def variables() -> dict[str, bool]:
    """Variables of docker-compose.yml, and whether it asks for each with a message."""
    text = "\n".join(line for line in COMPOSE.read_text().splitlines() if not line.lstrip().startswith("#"))
    found: dict[str, bool] = {}
    for name, kind in re.findall(r"\$\{(\w+)(:[-?])?", text):
        found[name] = found.get(name, False) or kind == ":?"
    return found


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """A value of the file with its variables, empty ones counting as unset.

    Raises:
        Missing: one that is needed is not set.
    """
    if isinstance(value, dict):
        return {key: interpolated(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if found := variables.get(match["name"]):
            return found
        if match["kind"] == ":?":
            raise Missing(f"{match['name']}: {match['rest']}")
        return interpolated(match["rest"] or "", variables)

    return _VARIABLE.sub(replace, value)
