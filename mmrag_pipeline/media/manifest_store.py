"""Manifests on disk: `manifests/<drop>.parquet`."""

from __future__ import annotations

import pyarrow as pa
from upath import UPath

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media.listing import forget_listings, list_entries
from mmrag_pipeline.store import Damaged, Store, whole_table, write_table


class DamagedManifest(UserError):
    """The file is there and is no table: nothing of it can be used."""


class ManifestStore:
    """Reads and writes the manifests of drops."""

    def __init__(self, store: Store):
        self._store = store

    def path(self, drop: str) -> UPath:
        return self._store.manifests / f"{drop}.parquet"

    def find(self, drop: str) -> pa.Table | None:
        """The drop's manifest, or None when it was never scanned.

        Raises:
            DamagedManifest: it can't be read; a store that does not answer is another error.
        """
        path = self.path(drop)
        forget_listings(path)  # another process may have written it since
        try:
            return whole_table(path)
        except FileNotFoundError:
            return None
        except Damaged as error:
            raise DamagedManifest(
                f"the manifest {path} is damaged ({error}): delete that file and ingest drop {drop} again (or, where a "
                f"campaign made it, run mmrag campaign index again)."
            ) from error

    def find_usable(self, drop: str) -> tuple[pa.Table | None, str]:
        """What a new scan goes on from, and a warning: a damaged manifest counts as none."""
        try:
            return self.find(drop), ""
        except DamagedManifest as error:
            return (
                None,
                f"{self.path(drop)} is damaged ({error.__cause__}): made anew, all files count as first seen now",
            )

    def read(self, drop: str) -> pa.Table:
        """The drop's manifest.

        Raises:
            UserError: the drop was never scanned.
        """
        table = self.find(drop)
        if table is None:
            raise UserError(f"drop {drop} has no manifest yet: materialise drop_manifest for it first.")
        return table

    def write(self, drop: str, table: pa.Table) -> None:
        write_table(self.path(drop), table)

    def replace(self, drop: str, previous: pa.Table | None, table: pa.Table) -> None:
        """Write the drop's manifest in place of `previous` (None: there was none that could be used).

        Without a lock: one that is written between the look and the write is lost, and the next night mends it, because
        the drop is then not what its folder holds.

        Raises:
            Unavailable: another one is there by now, which may be from a newer listing; it stays.
        """
        there, _ = self.find_usable(drop)
        if (there is None) != (previous is None) or (
            there is not None and not there.equals(previous, check_metadata=True)
        ):
            raise Unavailable(
                f"drop {drop} was scanned by another run while this one read its files: nothing was written, run it "
                f"again when that one has ended."
            )
        self.write(drop, table)

    def remove(self, drop: str) -> None:
        self.path(drop).unlink(missing_ok=True)

    def drops(self) -> list[str]:
        """Keys of all drops that have a manifest, sorted."""
        try:
            entries = list_entries(self._store.manifests)
        except FileNotFoundError:
            return []
        names = [entry.path for entry in entries if entry.path.endswith(".parquet")]
        return sorted(name.removesuffix(".parquet") for name in names if "/" not in name and not name.startswith("."))
