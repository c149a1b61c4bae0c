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
    library = verbs.add_parser("library", help="the committed library, from the catalogue and its seed")
    library.add_argument("--out", type=Path)
    library.add_argument("--samples", type=int, default=12)
    library.add_argument("--only", default="", help="render only paths that contain this")
    sheet = verbs.add_parser("sheet", help="a contact sheet of a folder")
    sheet.add_argument("--folder", type=Path)
    sheet.add_argument("--out", type=Path, default=Path("/tmp/library_sheet.png"))
    args = parser.parse_args()
    if args.verb == "training":
        from .training import write

        write(count=args.count, out=args.out, seed=args.seed, size=args.size, samples=args.samples)
    elif args.verb == "library":
        from . import library as shelf

        shelf.write(out=args.out or shelf.LIBRARY, samples=args.samples, only=args.only)
    else:
        from . import library as shelf
        from . import sheet as page

        page.write(folder=args.folder or shelf.LIBRARY, out=args.out)


if __name__ == "__main__":
    main()
