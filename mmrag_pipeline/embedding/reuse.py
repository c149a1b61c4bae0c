"""Vectors that were computed before, in whichever drop: the same bytes are never embedded twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from upath import UPath

from mmrag_pipeline.embedding.departed import DEPARTED, FOLDER
from mmrag_pipeline.embedding.store import damage_of
from mmrag_pipeline.media.listing import forget_listings
from mmrag_pipeline.store import CHECKED, is_local

if TYPE_CHECKING:
    import pyarrow.dataset

_ATTEMPTS = 3


class KnownVectors:
    """The vectors under one fingerprint that are of use to one drop.

    Unfinished drops count too (that is how a killed run goes on), and so does what left its drop lately. A file that
    can't be read is passed over, and noted in `damaged`: why, by path.

    Args:
        root: `embeddings/<fingerprint>`.
        content_ids: sorted; the ones that will be asked for.
        dim: length of a vector.
    """

    def __init__(self, root: UPath, content_ids: Sequence[str], *, dim: int):
        self._root, self._dim = root, dim
        self._wanted = pa.array(content_ids, pa.string())
        self.damaged: dict[UPath, str] = {}
        self._files = self._files_of_use()

    def read(self, content_ids: Sequence[str]) -> np.ndarray:
        """float32 [n, dim] for sorted ids out of those announced; rows of unknown ones are NaN."""
        vectors = np.full((len(content_ids), self._dim), np.nan, dtype=np.float32)
        attempts = 0
        while self._files and content_ids:
            try:
                self._fill(vectors, content_ids)
                break
            except FileNotFoundError:  # another drop was finished meanwhile and took its old parts away
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise
                self._files = self._files_of_use()
            except (pa.ArrowException, OSError):
                usable = {name: path for name, path in self._files.items() if not self._is_damaged(path)}
                if len(usable) == len(self._files):
                    raise
                self._files = usable
        return vectors

    def _fill(self, vectors: np.ndarray, content_ids: Sequence[str]) -> None:
        import pyarrow.compute as pc

        asked, column = pa.array(content_ids, pa.string()), pc.field("content_id")
        # The range lets whole row groups be skipped by their statistics, because files are sorted.
        within = (column >= content_ids[0]) & (column <= content_ids[-1])
        for batch in self._dataset(list(self._files)).to_batches(filter=within & column.isin(asked)):
            if batch.num_rows:
                positions = pc.index_in(batch["content_id"], asked).to_numpy(zero_copy_only=False)
                vectors[positions] = batch["embedding"].flatten().to_numpy().reshape(-1, self._dim)

    def _files_of_use(self) -> dict[str, UPath]:
        """Parquet files that hold at least one wanted id, by their name in the filesystem; only their id columns are
        read to tell.
        """
        import pyarrow.compute as pc

        forget_listings(self._root)  # other processes write here too
        found = [*self._root.glob("*/part-*.parquet"), *self._root.glob(f"{FOLDER}/{DEPARTED}")]
        wanted = pc.field("content_id").isin(self._wanted)
        of_use = {}
        for name, path in sorted((str(path) if is_local(path) else path.path, path) for path in found):
            try:
                if len(self._wanted) and self._dataset([name]).count_rows(filter=wanted):
                    of_use[name] = path
            except FileNotFoundError:
                continue  # its drop was finished meanwhile; what it held lies in another file, or is computed again
            except (pa.ArrowException, OSError):
                if not self._is_damaged(path):
                    raise
        return of_use

    def _is_damaged(self, path: UPath) -> bool:
        """Whether the file can't be read; that its store does not answer is raised. One that is gone counts."""
        try:
            why = damage_of(path)
        except FileNotFoundError:
            return True
        if why:
            self.damaged[path] = why
        return bool(why)

    def _dataset(self, files: Sequence[str]) -> pyarrow.dataset.Dataset:
        # and with it pandas: half a second that a quiet night does without
        from pyarrow.dataset import ParquetFileFormat, ParquetFragmentScanOptions, dataset

        schema = pa.schema([("content_id", pa.string()), ("embedding", pa.list_(pa.float32(), self._dim))])
        filesystem = None if is_local(self._root) else self._root.fs
        checked = ParquetFileFormat(default_fragment_scan_options=ParquetFragmentScanOptions(**CHECKED))
        return dataset(files, schema=schema, format=checked, filesystem=filesystem)
