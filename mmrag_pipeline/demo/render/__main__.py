"""`python -m mmrag_pipeline.demo.render training|library|sheet`."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Parse the command line and run one of the verbs."""
    parser = argparse.ArgumentParser(prog="python -m mmrag_pipeline.demo.render", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("training", help="random small renders with captions.csv")
    training.add_argument("--count", type=int, default=900)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--seed", type=int, default=1)
    training.add_argument("--size", type=int, default=256)
    training.add_argument("--samples", type=int, default=6)
    args = parser.parse_args()
    if args.verb == "training":
        from .training import write

        write(count=args.count, out=args.out, seed=args.seed, size=args.size, samples=args.samples)


if __name__ == "__main__":
    main()
