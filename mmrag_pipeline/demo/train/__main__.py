"""`python -m mmrag_pipeline.demo.train`: pictures and words in, an open_clip local-dir and its card out.

`--evaluate` trains nothing: it prints the scores of the committed model, beside those of ../shared/data/clip-weights.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from mmrag_pipeline.demo.train import card, pictures, tower
from mmrag_pipeline.demo.train.evaluate import Loaded, scores
from mmrag_pipeline.demo.train.export import export, recipe_model
from mmrag_pipeline.embedding.model import DEMO_MODEL

BATCH_SHARES = {"clothing": 0.36, "grocery": 0.22, "characters": 0.05, "renders": 0.37}
"""Of every batch; only the renders have colours that are known for certain."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mmrag_pipeline.demo.train", description=__doc__)
    parser.add_argument("--evaluate", action="store_true", help="only score a model")
    parser.add_argument("--out", type=Path, default=DEMO_MODEL, help="folder of the model; default: the committed one")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the real pictures")
    parser.add_argument("--renders", type=Path, help="folder of rendered training pictures with captions.csv")
    parser.add_argument("--cache", type=Path, default=Path(".mmrag/demo-train"), help="what is computed only once")
    parser.add_argument("--dev", action="store_true", help="keep the dev part out of training, and score on it")
    parser.add_argument("--views", type=int, default=3, help="of each picture; all but one are crops")
    parser.add_argument("--steps", type=int, default=400, help="of the image tower")
    parser.add_argument("--word-steps", type=int, default=1500, help="of the text tower")
    parser.add_argument("--phrases", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def train(options: argparse.Namespace, used: list[pictures.Picture]) -> None:
    """Both towers, one after the other, and their files."""
    from mmrag_pipeline.demo.train import sentences
    from mmrag_pipeline.demo.train.captions import CaptionPool
    from mmrag_pipeline.demo.train.joint import JointTraining
    from mmrag_pipeline.demo.train.phrases import wide_phrases
    from mmrag_pipeline.demo.train.student import StudentTraining, class_rows

    torch.manual_seed(options.seed)
    images = tower.ImageTower(tower.imagenet_trunk())
    maps = tower.cached_views(used, tower=images, views=options.views, cache=options.cache, seed=options.seed)
    images.centre(tower.features_of(images, maps[0]).mean(0))
    pool = CaptionPool.build(used, each=30, seed=options.seed)
    counts = Counter(picture.source for picture in used)
    shared = {
        "pool": pool,
        "weights": np.array([BATCH_SHARES[picture.source] / counts[picture.source] for picture in used]),
        "seed": options.seed,
    }
    known = sentences.cached_vectors(pool.texts, cache=options.cache)
    joint = JointTraining(tower=images, maps=maps, sentences=known, **shared)
    joint.fit(steps=options.steps)

    wide = wide_phrases(count=options.phrases, seed=options.seed)
    with torch.no_grad():
        targets = joint.teacher(torch.cat([sentences.cached_vectors(wide, cache=options.cache), known]))
    vectors = torch.stack([tower.vectors_of(images, view) for view in maps])
    student = StudentTraining(
        words=sentences.vocabulary_vectors(cache=options.cache),
        images=vectors,
        rows=class_rows(classifier=images.trunk.classifier, project=images.project),
        phrases=wide + pool.texts,
        targets=targets,
        scale=joint.scale,
        **shared,
    )
    student.fit(steps=options.word_steps)
    export(out=options.out, trunk=images.trunk, project=images.project, text=student.text, scale=student.scale)


def main() -> None:
    """Trains unless asked to evaluate only; prints the scores; writes the card of what it trained."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if not options.data.is_dir():
        sys.exit(f"there is no folder {options.data}: name the one with clothing/, grocery/ and characters/ as --data.")
    known = pictures.real_pictures(options.data)
    if options.renders:
        known += pictures.renders(options.renders)
    if not options.evaluate:
        kept_out = ("test", "dev") if options.dev else ("test",)
        train(options, [picture for picture in known if picture.part not in kept_out])
    part = "dev" if options.dev else "test"
    mine = scores(Loaded.named(f"local-dir:{options.out.absolute()}"), known, part=part)
    theirs, recipe = {}, options.data / "clip-weights"
    if recipe.is_dir() and not options.dev:
        with tempfile.TemporaryDirectory() as folder:
            theirs = scores(Loaded.named(recipe_model(recipe, Path(folder))), known, part=part)
    print(card.table(mine, theirs))
    if not (options.evaluate or options.dev):
        card.write(options.out / "MODEL_CARD.md", mine=mine, theirs=theirs, known=known, phrases=options.phrases)


if __name__ == "__main__":
    main()
