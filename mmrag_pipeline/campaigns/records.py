"""What is written down about a variant: its money in the ledger, its outcome in the sidecar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from upath import UPath

from mmrag_pipeline.campaigns.backends.base import GenerationResult
from mmrag_pipeline.campaigns.ledger import Caps, Ledger, Refused, Reservation
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.registry import ImageModel
from mmrag_pipeline.campaigns.sidecar import AMBIGUOUS, read_sidecar, write_sidecar

NOT_ANSWERED = ("failed", "skipped_budget")


@dataclass(frozen=True)
class Records:
    """Ledger and sidecars as one run writes them."""

    plan: CampaignPlan
    ledger: Ledger
    images: UPath
    caps: Caps
    run_id: str
    clock: Callable[[], datetime]
    model: ImageModel
    """With the prices in force."""
    paid: bool
    batch_job: str | None = None

    def reserve(self, variant: Variant, usd: float) -> Reservation | Refused:
        """Set aside what a variant may cost at most."""
        return self.ledger.reserve(
            variant.key,
            campaign=self.plan.campaign,
            occurrence=self.plan.occurrence,
            usd=usd,
            caps=self.caps,
            now=self.clock(),
            run_id=self.run_id,
            backend=self.plan.backend,
            model=self.plan.model,
        )

    def note(
        self,
        variant: Variant,
        status: str,
        reason: str,
        reservation: Reservation | None = None,
        *,
        requests: int = 0,
        usd: float = 0.0,
        estimated: bool = False,
        result: GenerationResult | None = None,
        **more: Any,
    ) -> None:
        """Write the sidecar of a variant; `more` are fields of it that only some outcomes have."""
        if status in NOT_ANSWERED and (read_sidecar(self.images, self.plan, variant) or {}).get("status") == AMBIGUOUS:
            return  # asking again got no answer either: it may still have been billed the first time
        write_sidecar(
            self.images,
            self.plan,
            variant,
            status=status,
            reason=reason,
            reservation=reservation.id if reservation else None,
            run_id=self.run_id,
            created_at=self.clock().isoformat(),
            requests=requests,
            usd=usd,
            estimated=estimated,
            answer=asdict(result.answer) if result else None,
            usage=dict(result.usage.tokens) if result and result.usage else None,
            batch_job=self.batch_job,
            price_table=(result.usage.price_table if result and result.usage else "") or self.model.price_table,
            **more,
        )

    def settle(
        self,
        reservation: Reservation | None,
        outcome: str,
        usd: float,
        requests: int,
        *,
        estimated: bool = False,
        detail: str = "",
    ) -> None:
        """Say what a reservation came to; nothing where nothing was reserved."""
        if reservation is not None:
            self.ledger.settle(
                reservation,
                outcome=outcome,
                usd=usd,
                now=self.clock(),
                estimated=estimated,
                requests=requests,
                detail=detail,
            )

    def settle_late(self, variant: Variant, sidecar: dict[str, Any]) -> None:
        """The run that wrote this sidecar may have died before it settled; the sidecar knows the price."""
        reservation = self.ledger.open(variant.key) if self.paid else None
        if reservation and reservation.id == sidecar["reservation"]:
            cost = sidecar["cost"]
            self.settle(
                reservation,
                sidecar["status"],
                cost["usd"],
                sidecar["requests"],
                estimated=cost["estimated"],
                detail="settled by the next run",
            )

    def settled_usd(self, variant: Variant) -> float:
        """What the last attempt cost: all that is known of a picture whose sidecar is lost."""
        attempts = self.ledger.attempts(variant.key)
        return float(attempts[-1]["settled_micro_usd"] or 0) / 1e6 if attempts else 0.0
