"""What was spent: one SQLite file, money reserved before a call and settled after it, rows only ever added.

A reservation without a settlement counts in full: the process died, and nobody can say whether the call was
billed. Amounts are whole micro-dollars, rounded up, so that no cap is passed by a rounding error.
"""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import filelock

from mmrag_pipeline.campaigns.schedule import ON_DEMAND
from mmrag_pipeline.errors import Unavailable, UserError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, campaign TEXT NOT NULL, occurrence TEXT NOT NULL,
    run_id TEXT NOT NULL,
    backend TEXT NOT NULL, model TEXT NOT NULL, micro_usd INTEGER NOT NULL CHECK (micro_usd >= 0),
    day TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS settlements (
    reservation INTEGER PRIMARY KEY REFERENCES reservations (id), outcome TEXT NOT NULL,
    micro_usd INTEGER NOT NULL CHECK (micro_usd >= 0), estimated INTEGER NOT NULL, requests INTEGER NOT NULL,
    detail TEXT NOT NULL, at TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS reservations_campaign ON reservations (campaign, occurrence);
CREATE INDEX IF NOT EXISTS reservations_day ON reservations (day);
CREATE INDEX IF NOT EXISTS reservations_key ON reservations (key);
CREATE TRIGGER IF NOT EXISTS reservations_stay BEFORE UPDATE ON reservations
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS reservations_keep BEFORE DELETE ON reservations
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_stay BEFORE UPDATE ON settlements
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS settlements_keep BEFORE DELETE ON settlements
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE INDEX IF NOT EXISTS reservations_run ON reservations (run_id);
"""
_NEWEST = "reservations_run"
_SPENT = (
    "SELECT COALESCE(SUM(COALESCE(s.micro_usd, r.micro_usd)), 0) "
    "FROM reservations r LEFT JOIN settlements s ON s.reservation = r.id WHERE "
)


@dataclass(frozen=True)
class Caps:
    """Most that may be spent, in US dollars; None: no cap of that kind."""

    campaign_usd: float | None = None
    occurrence_usd: float | None = None
    day_usd: float | None = None
    run_usd: float | None = None


@dataclass(frozen=True)
class Reservation:
    """Money set aside for one call."""

    id: int
    key: str
    usd: float


@dataclass(frozen=True)
class Refused:
    """A cap would be passed; `reason` is one sentence with the amounts and the setting."""

    reason: str


class Ledger:
    """Safe to share between threads and processes: every call is one short transaction on its own
    connection.
    """

    def __init__(self, path: str | os.PathLike[str], *, wait_s: float = 30.0):
        self.path = os.fspath(path)
        if "://" in self.path:
            raise UserError(f"the ledger {self.path} must be a file on a local disk: set MMRAG_LEDGER to one.")
        self._wait_s = wait_s
        # One at a time: two connections that both switch a new file to WAL get "locked" at once, without any wait.
        with self._opening_lock(), self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_NEWEST,)).fetchone():
                connection.executescript(_SCHEMA)

    def __repr__(self) -> str:
        return f"Ledger({self.path!r})"

    def reserve(
        self,
        key: str,
        *,
        campaign: str,
        occurrence: str,
        usd: float,
        caps: Caps,
        now: datetime,
        run_id: str = "",
        backend: str = "",
        model: str = "",
    ) -> Reservation | Refused:
        """Set `usd` aside, unless that would pass a cap. Days are UTC days of the aware time `now`."""
        micro, day = _micro(usd), _day(now)
        limits = (
            (
                "campaign = ?",
                (campaign,),
                caps.campaign_usd,
                f"campaign {campaign}",
                "budget_usd in the brief",
            ),
            (
                "campaign = ? AND occurrence = ?",
                (campaign, occurrence),
                caps.occurrence_usd,
                f"occurrence {occurrence}",
                "budget_usd_per_occurrence in the brief",
            ),
            ("day = ?", (day,), caps.day_usd, f"day {day}", "MMRAG_BUDGET_USD_PER_DAY"),
            (
                "run_id = ?",
                (run_id,),
                caps.run_usd,
                f"run {run_id if run_id.startswith(ON_DEMAND) else run_id[:8]}",  # Dagster's are long and random
                "MMRAG_BUDGET_USD_PER_RUN (or this run's own budget_usd)",
            ),
        )
        with self._transaction() as connection:
            for where, values, cap, what, setting in limits:
                if cap is None:
                    continue
                (spent,) = connection.execute(_SPENT + where, values).fetchone()
                if spent + micro > math.floor(round(cap * 1e6, 3)):
                    return Refused(
                        f"{what}: {spent / 1e6:.4f} USD of {cap:g} USD are spent or reserved, one "
                        "more picture may cost "
                        f"{usd:.4f} USD; raise {setting} and run again."
                    )
            cursor = connection.execute(
                "INSERT INTO reservations (key, campaign, occurrence, run_id, backend, model, "
                "micro_usd, day, at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (key, campaign, occurrence, run_id, backend, model, micro, day, now.isoformat()),
            )
            return Reservation(int(cursor.lastrowid or 0), key, micro / 1e6)

    def settle(
        self,
        reservation: Reservation,
        *,
        outcome: str,
        usd: float,
        now: datetime,
        estimated: bool = False,
        requests: int = 1,
        detail: str = "",
    ) -> None:
        """Write down what a reserved call cost in the end. A second settlement of the same call is
        refused.
        """
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    reservation.id,
                    outcome,
                    _micro(usd),
                    int(estimated),
                    requests,
                    detail[:500],
                    now.isoformat(),
                ),
            )

    def open(self, key: str) -> Reservation | None:
        """The newest reservation of a key that was never settled: a call that a crash cut off."""
        with self._connection() as connection:
            row = connection.execute(
                "SELECT r.id, r.key, r.micro_usd FROM reservations r LEFT JOIN settlements s ON "
                "s.reservation = r.id "
                "WHERE r.key = ? AND s.reservation IS NULL ORDER BY r.id DESC LIMIT 1",
                (key,),
            ).fetchone()
        return Reservation(row[0], row[1], row[2] / 1e6) if row else None

    def spent(
        self,
        *,
        campaign: str | None = None,
        occurrence: str | None = None,
        day: datetime | None = None,
        run_id: str | None = None,
    ) -> float:
        """US dollars spent or still reserved, of everything that matches all the arguments given."""
        wanted = {
            "campaign = ?": campaign,
            "occurrence = ?": occurrence,
            "day = ?": _day(day) if day else None,
            "run_id = ?": run_id,
        }
        kept = {clause: value for clause, value in wanted.items() if value is not None}
        with self._connection() as connection:
            (micro,) = connection.execute(_SPENT + (" AND ".join(kept) or "1"), tuple(kept.values())).fetchone()
        return micro / 1e6

    def attempts(self, key: str | None = None) -> list[dict[str, object]]:
        """Every attempt, oldest first, as one dict a row (`outcome` is None while reserved)."""
        with self._connection() as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(
                "SELECT r.*, s.outcome, s.micro_usd AS settled_micro_usd, s.estimated, s.requests, s.detail, "
                "s.at AS settled_at FROM reservations r LEFT JOIN settlements s ON s.reservation = r.id "
                "WHERE ?1 IS NULL OR r.key = ?1 ORDER BY r.id",
                (key,),
            ).fetchall()
        return [dict(row) for row in rows]

    @contextmanager
    def _opening_lock(self) -> Iterator[None]:
        folder = os.path.join(os.path.dirname(self.path), "locks")
        lock = filelock.FileLock(os.path.join(folder, "ledger.lock"))
        try:
            os.makedirs(folder, exist_ok=True)
            lock.acquire(timeout=self._wait_s)
        except filelock.Timeout:
            raise Unavailable(f"the ledger {self.path} stayed locked for {self._wait_s:g} s: try again.") from None
        except OSError as error:
            raise UserError(
                f"the ledger {self.path} can't be opened ({error}): check that its folder is writable."
            ) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=self._wait_s, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the ledger {self.path} can't be opened ({error}): check that its folder is writable."
            ) from error
        try:
            connection.execute("PRAGMA synchronous = FULL")  # money: a power cut must not forget a reservation
            yield connection
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Unavailable(f"the ledger {self.path} stayed locked for {self._wait_s:g} s: try again.") from error
            raise
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")  # readers of the sum and writers of the row are one: no cap is passed
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _micro(usd: float) -> int:
    return math.ceil(round(usd * 1e6, 3))


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()
