"""`python -m mmrag_pipeline.demo.train`: pictures and words in, an open_clip local-dir and its card out."""

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch

from mmrag_pipeline.demo.train import card, pictures, sentences, tower
from mmrag_pipeline.demo.train.evaluate import Loaded, scores
from mmrag_pipeline.demo.train.export import export
from mmrag_pipeline.demo.train.joint import CaptionPool, JointTraining, imagenet_phrases
from mmrag_pipeline.demo.train.text import TextTower


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mmrag_pipeline.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the real pictures")
    parser.add_argument("--renders", type=Path, help="folder of rendered training pictures with captions.csv")
    parser.add_argument("--cache", type=Path, default=Path(".mmrag/demo-train"), help="frozen features")
    parser.add_argument("--views", type=int, default=3, help="of each picture; all but one are crops")
    parser.add_argument("--steps", type=int, default=1500, help="steps on frozen features")
    parser.add_argument("--deep-steps", type=int, default=300, help="then steps on the last three stages too")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true", help="only print the scores of the model in --out")
    return parser.parse_args()


def train(options: argparse.Namespace, known: list[pictures.Picture]) -> None:
    """Features, the two phases, the files."""
    used = [picture for picture in known if not picture.held_out]
    torch.manual_seed(options.seed)
    trunk = tower.imagenet_trunk()
    tail = tower.Tail(trunk)
    middle = np.concatenate(
        [
            tower.middle_features(
                [picture.path for picture in used if picture.source == source],
                trunk=trunk,
                views=options.views,
                cache=options.cache,
                seed=options.seed,
            )
            for source in dict.fromkeys(picture.source for picture in used)
        ],
        axis=1,
    )
    pooled = tower.pooled_features(middle, tail=tail)
    pool = CaptionPool.build(used, each=30, seed=options.seed)
    names, _ = imagenet_phrases()
    text = TextTower(
        words=sentences.vocabulary_vectors(cache=options.cache),
        used=torch.cat([pool.tokens.flatten(), names.flatten()]),
        dimensions=tower.DIMENSIONS,
    )
    training = JointTraining(
        tail=tail,
        text=text,
        classifier=trunk.classifier,
        pool=pool,
        middle=middle,
        pooled=pooled,
        seed=options.seed,
    )
    training.centre()
    training.fit(steps=options.steps, size=256, rate=2e-3, image_rate=3e-4, deep=False)
    if options.deep_steps:
        training.fit(steps=options.deep_steps, size=96, rate=3e-4, image_rate=2e-4, deep=True)
    export(out=options.out, trunk=trunk, tail=tail, text=text, scale=training.scale)


def main() -> None:
    """Trains unless asked to evaluate only; evaluates; writes the card."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    known = pictures.real_pictures(options.data)
    if options.renders:
        known += pictures.renders(options.renders)
    started = time.monotonic()
    if not options.evaluate:
        train(options, known)
    seconds = time.monotonic() - started
    result = scores(Loaded.from_folder(options.out), known)
    print(json.dumps(result, indent=2))
    if not options.evaluate:
        card.write(
            options.out / "MODEL_CARD.md", scores=result, known=known, seed=options.seed, seconds=seconds
        )


if __name__ == "__main__":
    main()
