"""Which pictures are ordered in which batch job, in the ledger's own file; rows only ever added.

A shard is what one job makes. It is ordered (with its reservations, in one transaction), then it has a job, then it
ends. Whoever is killed in between leaves a shard that says how far it came.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.ledger import Ledger, Reservation
from mmrag_pipeline.campaigns.plan import CampaignPlan

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, campaign TEXT NOT NULL, occurrence TEXT NOT NULL,
    at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS shard_items (
    reservation INTEGER PRIMARY KEY REFERENCES reservations (id), shard INTEGER NOT NULL REFERENCES shards (id),
    key TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS shard_jobs (
    shard INTEGER PRIMARY KEY REFERENCES shards (id), job TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS shard_ends (
    shard INTEGER PRIMARY KEY REFERENCES shards (id), state TEXT NOT NULL, detail TEXT NOT NULL,
    at TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS shard_items_shard ON shard_items (shard);
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{name} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;\n"
    for table in ("shards", "shard_items", "shard_jobs", "shard_ends")
    for name, verb in (("stay", "UPDATE"), ("keep", "DELETE"))
)


@dataclass(frozen=True)
class Shard:
    """`job` is None until the service has taken it."""

    id: int
    name: str
    campaign: str
    occurrence: str
    ordered_at: datetime
    job: str | None
    submitted_at: datetime | None


@dataclass(frozen=True)
class Item:
    """One picture of a shard."""

    reservation: Reservation
    settled: bool


def shard_name(reservations: Sequence[Reservation]) -> str:
    """The name a job is submitted under, and found again by: a hash of what is ordered, and of which order it is."""
    ordered = "\n".join(f"{held.key} {held.id}" for held in reservations)
    return f"mmrag-{hashlib.sha256(ordered.encode()).hexdigest()[:40]}"


def order_path(folder: UPath, shard_name: str) -> UPath:
    """The plan of a shard's own variants: what is ordered is taken as it was ordered, whatever is planned since."""
    return folder / "batches" / f"{shard_name}.parquet"


def held_by_batches(plan: CampaignPlan, brief: Brief, *, backend_name: str, ledger: str | os.PathLike[str]) -> bool:
    """Whether a plan has to stay until its batch jobs are collected: another backend would never ask for what they
    make, and that is paid for.
    """
    backend, wanted = backend_info(plan.backend), backend_info(brief.backend or backend_name)
    if wanted.name == backend.name or (plan.backend_version, backend.batches) != (backend.version, True):
        return False
    return bool(keys_in_batches(plan, ledger=ledger))


def keys_in_batches(plan: CampaignPlan, *, ledger: str | os.PathLike[str]) -> set[str]:
    """Keys of an occurrence that batch jobs still have to make; opening a ledger would make one."""
    if not os.path.exists(ledger):
        return set()
    return BatchLedger(ledger).keys_in_jobs(campaign=plan.campaign, occurrence=plan.occurrence)


class BatchLedger(Ledger):
    """The ledger with its shards."""

    def __init__(self, path: str | os.PathLike[str], *, wait_s: float = 30.0):
        super().__init__(path, wait_s=wait_s)
        self._begun = threading.local()
        with self._opening_lock(), self._connection() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'shard_ends_keep'").fetchone():
                connection.executescript(_SCHEMA)

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is written inside is one transaction: the whole of it, or nothing."""
        with self._transaction() as connection:
            self._begun.connection = connection
            try:
                yield
            finally:
                self._begun.connection = None

    def order(self, reservations: Sequence[Reservation], *, campaign: str, occurrence: str, now: datetime) -> Shard:
        name = shard_name(reservations)
        with self._transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO shards (name, campaign, occurrence, at) VALUES (?, ?, ?, ?)",
                (name, campaign, occurrence, now.isoformat()),
            )
            shard = int(cursor.lastrowid or 0)
            connection.executemany(
                "INSERT INTO shard_items VALUES (?, ?, ?)", [(held.id, shard, held.key) for held in reservations]
            )
        return Shard(shard, name, campaign, occurrence, now, None, None)

    def submitted(self, shard: Shard, *, job: str, now: datetime) -> None:
        """A second job for a shard is refused."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO shard_jobs VALUES (?, ?, ?)", (shard.id, job, now.isoformat()))

    def end(self, shard: Shard, *, state: str, now: datetime, detail: str = "") -> None:
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO shard_ends VALUES (?, ?, ?, ?)", (shard.id, state, detail[:500], now.isoformat())
            )

    def release(self, shard: Shard, *, reason: str, now: datetime) -> None:
        """End a shard that no job was made for: what was reserved is free again."""
        with self.together():
            for item in self.items(shard):
                self.settle(item.reservation, outcome="not_sent", usd=0.0, now=now, requests=0, detail=reason)
            self.end(shard, state="NOT_SUBMITTED", now=now, detail=reason)

    def open_shards(self, *, campaign: str | None = None, occurrence: str | None = None) -> list[Shard]:
        """Shards without an end, oldest first."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT s.id, s.name, s.campaign, s.occurrence, s.at, j.job, j.at FROM shards s "
                "LEFT JOIN shard_jobs j ON j.shard = s.id LEFT JOIN shard_ends e ON e.shard = s.id "
                "WHERE e.shard IS NULL AND (?1 IS NULL OR s.campaign = ?1) AND (?2 IS NULL OR s.occurrence = ?2) "
                "ORDER BY s.id",
                (campaign, occurrence),
            ).fetchall()
        return [Shard(*row[:4], _time(row[4]), row[5], _time(row[6]) if row[6] else None) for row in rows]

    def items(self, shard: Shard) -> list[Item]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT r.id, r.key, r.micro_usd, s.reservation IS NOT NULL FROM shard_items i "
                "JOIN reservations r ON r.id = i.reservation LEFT JOIN settlements s ON s.reservation = r.id "
                "WHERE i.shard = ? ORDER BY r.id",
                (shard.id,),
            ).fetchall()
        return [Item(Reservation(row[0], row[1], row[2] / 1e6), bool(row[3])) for row in rows]

    def keys_in_jobs(self, *, campaign: str, occurrence: str) -> set[str]:
        """Keys that a shard without an end still has to make."""
        return self._keys("e.shard IS NULL", campaign, occurrence)

    def keys_tried(self, *, campaign: str, occurrence: str) -> set[str]:
        """Keys that a job has ended for, with or without a picture."""
        return self._keys("e.shard IS NOT NULL AND j.shard IS NOT NULL", campaign, occurrence)

    def _keys(self, where: str, campaign: str, occurrence: str) -> set[str]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT i.key FROM shard_items i JOIN shards s ON s.id = i.shard "
                "LEFT JOIN shard_jobs j ON j.shard = s.id LEFT JOIN shard_ends e ON e.shard = s.id "
                f"WHERE s.campaign = ? AND s.occurrence = ? AND {where}",
                (campaign, occurrence),
            ).fetchall()
        return {row[0] for row in rows}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        begun = getattr(self._begun, "connection", None)
        if begun is not None:
            yield begun
            return
        with super()._transaction() as connection:
            yield connection


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
