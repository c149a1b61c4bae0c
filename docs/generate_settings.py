"""Writes docs/settings.md from the settings' own descriptions: `python docs/generate_settings.py`."""

from __future__ import annotations

from pathlib import Path

from mmrag_pipeline.settings import Settings, variable

HEAD = """# Settings

One environment variable each, or a line in `.env` in the folder that the process starts in. `mmrag doctor` prints all
of them as they are in force, secrets masked. This page is written by `docs/generate_settings.py` from the code.

| variable | default | |
| --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        shown = "none" if default is None else f"`{default}`"
        said = (field.description or "").replace("<", "&lt;").replace("*", "\\*")
        rows.append(f"| `{variable(name)}` | {shown} | {said} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    (Path(__file__).parent / "settings.md").write_text(page())
