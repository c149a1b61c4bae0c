"""Money is reserved before it is spent, no cap is passed by anyone, and no row is ever changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline_tests.campaigns.conftest import NOW


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def reserve(ledger: Ledger, key: str = "k", usd: float = 0.05, **more: object) -> Reservation | Refused:
    options = {"campaign": "c", "occurrence": "c__1", "caps": Caps(), "now": NOW, **more}
    return ledger.reserve(key, usd=usd, **options)


def test_a_reservation_counts_in_full_until_it_is_settled(ledger: Ledger) -> None:
    held = reserve(ledger)
    assert isinstance(held, Reservation) and ledger.spent() == 0.05
    assert ledger.open("k") == held
    ledger.settle(held, outcome="generated", usd=0.035, now=NOW)
    assert ledger.spent() == ledger.spent(campaign="c", occurrence="c__1", day=NOW) == 0.035
    assert ledger.open("k") is None and ledger.spent(campaign="d") == 0
    assert ledger.attempts("k")[0]["outcome"] == "generated" and ledger.attempts("other") == []


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        (Caps(campaign_usd=0.12), "campaign c: 0.1000 USD of 0.12 USD .* raise budget_usd in the brief"),
        (Caps(occurrence_usd=0.12), "raise budget_usd_per_occurrence"),
        (Caps(day_usd=0.12), "day 2026-11-23: .* raise MMRAG_BUDGET_USD_PER_DAY"),
    ],
)
def test_each_cap_holds_and_names_its_setting(ledger: Ledger, caps: Caps, said: str) -> None:
    answers = [reserve(ledger, caps=caps) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Reservation, Reservation, Refused]
    assert __import__("re").search(said, answers[-1].reason) and ledger.spent() == pytest.approx(0.1)


def test_a_refusal_names_a_run_as_people_find_it(ledger: Ledger) -> None:
    one_on_demand, of_dagster = "on-demand-6f1e2d3c4b5a6978", "6f1e2d3c-4b5a-6978-8897-a6b5c4d3e2f1"
    for run_id, named in ((one_on_demand, one_on_demand), (of_dagster, "6f1e2d3c")):
        refused = reserve(ledger, run_id=run_id, caps=Caps(run_usd=0.01))
        assert isinstance(refused, Refused) and refused.reason.startswith(f"run {named}: ")


def test_caps_are_of_their_own_day_occurrence_and_campaign(ledger: Ledger) -> None:
    caps = Caps(campaign_usd=0.11, occurrence_usd=0.06, day_usd=0.06)
    tomorrow = NOW + timedelta(days=1)
    assert isinstance(reserve(ledger, caps=caps), Reservation)
    assert isinstance(reserve(ledger, caps=caps, occurrence="c__2"), Refused)  # the day
    assert isinstance(reserve(ledger, caps=caps, now=tomorrow), Refused)  # the occurrence
    assert isinstance(reserve(ledger, caps=caps, now=tomorrow, occurrence="c__2"), Reservation)
    assert isinstance(reserve(ledger, caps=caps, now=tomorrow + timedelta(days=1), occurrence="c__3"), Refused)


def test_a_cap_that_fits_exactly_fits(ledger: Ledger) -> None:
    caps = Caps(campaign_usd=0.3)
    assert all(isinstance(reserve(ledger, usd=0.1, caps=caps), Reservation) for _ in range(3))
    assert isinstance(reserve(ledger, usd=0.000001, caps=caps), Refused)


def test_rows_are_never_changed_deleted_or_settled_twice(ledger: Ledger) -> None:
    held = reserve(ledger)
    ledger.settle(held, outcome="generated", usd=0.01, now=NOW)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.settle(held, outcome="generated", usd=0.0, now=NOW)
    connection = sqlite3.connect(ledger.path)
    for statement in ("UPDATE reservations SET micro_usd = 0", "DELETE FROM settlements"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


HAMMER = """
import sys, threading
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Reservation
from mmrag_pipeline_tests.campaigns.conftest import NOW
ledger, got = Ledger(sys.argv[1]), []
def work(name):
    for n in range(15):
        held = ledger.reserve(
            f"{name}-{n}", campaign="c", occurrence="c__1", usd=0.05, caps=Caps(campaign_usd=1.0), now=NOW)
        if isinstance(held, Reservation):
            got.append(held.id)
threads = [threading.Thread(target=work, args=(f"{sys.argv[2]}-{t}",)) for t in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(got))
"""


def test_two_processes_of_four_threads_never_pass_a_cap(ledger: Ledger) -> None:
    """120 askers for 0.05 USD, 1 USD there: exactly 20 get it."""
    command = [sys.executable, "-c", HAMMER, ledger.path]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    assert sum(int(process.communicate(timeout=60)[0]) for process in both) == 20
    assert ledger.spent(campaign="c") == 1.0


def test_a_ledger_held_by_another_is_unavailable_not_a_traceback(ledger: Ledger) -> None:
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="stayed locked"):
        reserve(Ledger(ledger.path, wait_s=0.1))
    holder.execute("ROLLBACK")
    holder.close()


def test_many_openers_at_once_make_one_ledger(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for attempt in range(10):  # the race was lost once, on a busy machine
            path = tmp_path / str(attempt) / "ledger.sqlite"
            ledgers = list(pool.map(lambda _, path=path: Ledger(path), range(8)))
            assert isinstance(reserve(ledgers[0]), Reservation)


def test_a_ledger_that_can_not_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="check that its folder is writable"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


def test_a_ledger_in_a_bucket_is_refused() -> None:
    with pytest.raises(UserError, match="local disk"):
        Ledger("s3://bucket/ledger.sqlite")
