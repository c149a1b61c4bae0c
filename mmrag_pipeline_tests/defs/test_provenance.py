"""Content credentials through real Dagster runs: signed by whom the settings name, checked, and told what to do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from mmrag_pipeline.campaigns.provenance import credentials, development_credentials, verify
from mmrag_pipeline.doctor import Finding, examine
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.defs.test_campaigns import BRIEF, KEY, campaign, occurrence  # noqa: F401 - a fixture
from mmrag_pipeline_tests.pipeline import Pipeline

CHECK = dg.AssetCheckKey(dg.AssetKey("campaign_images"), "provenance_valid")


def checked() -> tuple[bool, dict]:
    """Whether the latest evaluation passed, and what it said."""
    with dg.DagsterInstance.get() as instance:
        (record,) = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=1)
    evaluation = record.event.dagster_event.event_specific_data
    assert evaluation.severity == dg.AssetCheckSeverity.WARN and not evaluation.blocking
    return evaluation.passed, {name: entry.value for name, entry in evaluation.metadata.items()}


def finding(pipeline: Pipeline) -> Finding:
    (found,) = [one for one in examine(pipeline.settings) if one.component == "content credentials"]
    return found


def own_certificate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    with monkeypatch.context() as named:
        named.setattr(credentials, "NAME", "Lunar GmbH")
        development_credentials(str(folder))
    return str(folder / "certificate.pem"), str(folder / "key.pem")


def test_pictures_are_signed_checked_and_signed_again_by_an_own_certificate(
    campaign: Pipeline,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brief = campaign.root / "briefs" / "spring.yaml"
    brief.write_text(BRIEF + "overlay: {headline: Red is back, price: € 49}\n")
    campaign.run("run_campaign", KEY)
    passed, said = checked()
    assert passed and (said["pictures"], said["wrong"]) == (2, 0) and "set MMRAG_C2PA_CERTIFICATE" in said["what_to_do"]
    assert finding(campaign).verdict == "warning" and "nobody else trusts" in finding(campaign).sentence
    pictures = sorted((occurrence(campaign) / "images").glob("*.png"))
    assert all(verify(file).xmp == "compositeSynthetic" and verify(file).state == "valid" for file in pictures)

    # Saved again by somebody who also mended the sidecar: whole, but it no longer says where it is from.
    Image.open(pictures[0]).save(pictures[0])
    sidecar = pictures[0].with_suffix(".json")
    content = json.loads(sidecar.read_text())
    content["picture"]["sha256"] = hashlib.sha256(pictures[0].read_bytes()).hexdigest()
    sidecar.write_text(json.dumps(content))
    campaign.run("run_campaign", KEY)
    passed, said = checked()
    assert not passed and said["wrong"] == 1 and pictures[0].name in said["problems"]
    assert "Remove the files" in said["what_to_do"]
    pictures[0].unlink()
    assert campaign.run("run_campaign", KEY).metadata["campaign_images"]["refinished"] == 1
    assert checked()[0]

    certificate, key = own_certificate(tmp_path / "own", monkeypatch)
    monkeypatch.setenv("MMRAG_C2PA_CERTIFICATE", certificate)
    with pytest.raises(UserError, match="MMRAG_C2PA_KEY"):
        campaign.run("run_campaign", KEY)
    assert finding(campaign).verdict == "wrong"
    monkeypatch.setenv("MMRAG_C2PA_KEY", key)
    brief.write_text(BRIEF + "overlay: {headline: Red is back, price: € 39}\n")
    again = campaign.run("run_campaign", KEY).metadata
    assert again["campaign_plan"]["kept_from_earlier_run"]
    images = again["campaign_images"]
    assert (images["refinished"], images["made"], images["requests"], images["spent_usd"]) == (2, 0, 0, 0)
    passed, said = checked()
    assert passed and (said["signer"], said["what_to_do"]) == ("Lunar GmbH", "nothing")
    assert all(verify(file).signer == "Lunar GmbH" for file in pictures)
    assert finding(campaign).verdict == "ok" and "Lunar GmbH" in finding(campaign).sentence
    assert "signed by Lunar GmbH" in (occurrence(campaign) / "gallery.html").read_text()
    secret = Path(key).read_bytes()
    assert not [f for f in (campaign.root / "store").rglob("*") if f.is_file() and secret in f.read_bytes()]
