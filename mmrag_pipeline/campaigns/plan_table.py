"""plan.parquet: one row a variant with its references nested; what belongs to the whole plan is schema
metadata.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import pyarrow as pa
from upath import UPath

from mmrag_pipeline.campaigns.finishing.recipe import Finishing
from mmrag_pipeline.campaigns.plan import CampaignPlan, LeftOut, Reference, Variant
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import read_table, write_table

_HEADER = b"mmrag.plan"
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}


def _type(annotation: str) -> pa.DataType:
    return _TYPES[annotation.removesuffix(" | None")]


REFERENCE_TYPE = pa.struct([(f.name, _type(f.type)) for f in fields(Reference)])
PLAN_SCHEMA = pa.schema(
    [(f.name, pa.list_(REFERENCE_TYPE) if f.name == "references" else _type(f.type)) for f in fields(Variant)]
)


def to_table(plan: CampaignPlan) -> pa.Table:
    header = {k: v for k, v in asdict(plan).items() if k != "variants"}
    header["finishing"] = plan.finishing.to_json()
    rows = [asdict(variant) for variant in plan.variants]
    table = pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)
    return table.replace_schema_metadata({_HEADER: json.dumps(header, sort_keys=True, ensure_ascii=False)})


def from_table(table: pa.Table) -> CampaignPlan:
    header = json.loads(table.schema.metadata[_HEADER])
    header["palette"] = tuple((words, hex_) for words, hex_ in header["palette"])
    header["finishing"] = Finishing.from_json(header.get("finishing"))
    header["left_out"] = tuple(LeftOut(**entry) for entry in header["left_out"])
    variants = tuple(
        Variant(**{**row, "references": tuple(Reference(**entry) for entry in row["references"])})
        for row in table.to_pylist()
    )
    return CampaignPlan(**header, variants=variants)


def write_plan(path: UPath, plan: CampaignPlan) -> None:
    write_table(path, to_table(plan))


def read_plan(path: UPath) -> CampaignPlan:
    """Raises UserError where there is no plan."""
    try:
        return from_table(read_table(path))
    except FileNotFoundError:
        raise UserError(f"there is no plan {path}: materialize campaign_plan for this occurrence first.") from None


def find_plan(path: UPath) -> CampaignPlan | None:
    """The plan, or None where there is none yet."""
    try:
        return from_table(read_table(path))
    except FileNotFoundError:
        return None
