"""Scene templates: jinja2 in a sandbox, every unknown name an error, catalogue text handed in as data."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

MAX_SCENE = 4000
MAX_CATALOGUE = 120

# Every name a scene may use, with a value of the kind it will have: rendered once when a brief is loaded.
SAMPLE: Mapping[str, object] = {
    "product": {"name": "golden watch", "title": '"Golden watch"', "sku": '"W-1"', "product_line": "watches"},
    "placement": {"name": "feed", "aspect_ratio": "4:5"},
    "brand": {"tone": "calm", "palette": "warm gold and ivory"},
    "campaign": {"title": "Golden hour", "objective": "sell", "message": "Time, well kept", "audience": "all"},
    "locale": "en-GB",
}


def render(scene: str, values: Mapping[str, object]) -> str:
    """Fill a scene in and fold its white space.

    Raises:
        ValueError: half a sentence on what is wrong: syntax, an unknown name, an unsafe access, too long or
        empty.
    """
    try:
        text = " ".join(_environment().from_string(scene).render(values).split())
    except TemplateSyntaxError as error:
        raise ValueError(f"the template is not valid jinja2 (line {error.lineno}: {error.message})") from None
    except UndefinedError:
        raise ValueError(_unknown(scene)) from None
    except SecurityError as error:
        raise ValueError(f"the template is not allowed to do that ({error})") from None
    except (TemplateError, TypeError, OverflowError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(f"the template can't be filled in ({error})") from None
    if not text:
        raise ValueError("the template gives no text")
    if len(text) > MAX_SCENE:
        raise ValueError(f"the template gives {len(text)} characters, {MAX_SCENE} is the most")
    return text


def check(scene: str) -> None:
    """Raises ValueError where a scene can't be filled in with the names that scenes may use."""
    render(scene, SAMPLE)


def catalogue(text: str, limit: int = MAX_CATALOGUE) -> str:
    """Text from a catalogue, made safe to stand in a prompt: one line, bounded, quoted, no quote or tag
    inside.
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", text))
    folded = " ".join(re.sub(r"[\"“”„«»`]", "'", kept).translate(str.maketrans("<>{}", "()()")).split())
    return f'"{folded[: limit - 1] + "…" if len(folded) > limit else folded}"'


def _unknown(scene: str) -> str:
    names = meta.find_undeclared_variables(_environment().parse(scene)) - set(SAMPLE)
    known = [f"{a}.{b}" for a, v in SAMPLE.items() if isinstance(v, dict) for b in v] + ["locale"]
    if names:
        name = sorted(names)[0]
    else:
        used = re.findall(r"\b(product|placement|brand|campaign|locale)\s*\.\s*(\w+)", scene)
        name = next((f"{a}.{b}" for a, b in used if f"{a}.{b}" not in known), "a name")
    near = difflib.get_close_matches(name, known if "." in name else list(SAMPLE), n=1)
    return f"the template uses the unknown name {name}; " + (
        f"did you mean {near[0]}?" if near else f"known names: {', '.join(known)}"
    )


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
