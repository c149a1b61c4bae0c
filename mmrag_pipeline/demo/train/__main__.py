"""`python -m mmrag_pipeline.demo.train`: pictures and words in, an open_clip local-dir and its card out."""

import argparse
import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from mmrag_pipeline.demo.train import card, pictures, sentences, tower
from mmrag_pipeline.demo.train.evaluate import Loaded, scores
from mmrag_pipeline.demo.train.export import export
from mmrag_pipeline.demo.train.joint import CaptionPool, JointTraining, imagenet_phrases
from mmrag_pipeline.demo.train.text import TextTower

#: of every batch; only the renders have colours that are known for certain
BATCH_SHARES = {"clothing": 0.35, "grocery": 0.2, "characters": 0.05, "renders": 0.4}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m mmrag_pipeline.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the real pictures")
    parser.add_argument("--renders", type=Path, help="folder of rendered training pictures with captions.csv")
    parser.add_argument("--cache", type=Path, default=Path(".mmrag/demo-train"), help="frozen features")
    parser.add_argument("--views", type=int, default=2, help="of each picture; all but one are crops")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate", action="store_true", help="only score the model in --out")
    return parser.parse_args()


def train(options: argparse.Namespace, known: list[pictures.Picture]) -> None:
    """Features, towers, training, files."""
    used = [picture for picture in known if not picture.held_out]
    torch.manual_seed(options.seed)
    trunk = tower.imagenet_trunk()
    by_source = [
        tower.features(
            [picture.path for picture in used if picture.source == source],
            trunk=trunk,
            views=options.views,
            cache=options.cache,
            seed=options.seed,
        )
        for source in dict.fromkeys(picture.source for picture in used)
    ]
    features = torch.cat(by_source, dim=1)
    project = tower.projection(trunk=trunk, mean=features[0].mean(0))
    pool = CaptionPool.build(used, each=30, seed=options.seed)
    counts = Counter(picture.source for picture in used)
    words = sentences.vocabulary_vectors(cache=options.cache)
    seen = torch.cat([pool.tokens.flatten(), imagenet_phrases()[0].flatten()])
    text = TextTower(words=words, used=seen, dimensions=tower.DIMENSIONS)
    training = JointTraining(
        project=project,
        text=text,
        classifier=trunk.classifier,
        pool=pool,
        features=features,
        weights=np.array([BATCH_SHARES[picture.source] / counts[picture.source] for picture in used]),
        seed=options.seed,
    )
    training.fit(steps=options.steps)
    export(out=options.out, trunk=trunk, project=project, text=text, scale=training.scale)


def main() -> None:
    """Trains unless asked to evaluate only; prints the scores; writes the card."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    known = pictures.real_pictures(options.data)
    if options.renders:
        known += pictures.renders(options.renders)
    if not options.evaluate:
        train(options, known)
    result = scores(Loaded.from_folder(options.out), known)
    print(json.dumps(result, indent=2))
    card.write(options.out / "MODEL_CARD.md", scores=result, known=known)


if __name__ == "__main__":
    main()
