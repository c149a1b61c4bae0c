"""Sensors and schedules that fail: what asks for no run is as bad as a run that fails, and makes less noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick, InstigatorType, SensorInstigatorData, TickStatus
from dagster._utils.error import SerializableErrorInfo

from mmrag_pipeline.errors import Unavailable, UserError

_FINISHED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
_PASSES = "DagsterUserCodeUnreachableError"
"""The code server is being restarted; the sensor that would say it runs there too."""
_FAILED_TICKS = {InstigatorType.SENSOR: 2, InstigatorType.SCHEDULE: 1}
"""In a row, until they are trouble: a sensor that fails once asks again within the minute, a schedule tomorrow."""


@dataclass(frozen=True)
class LastTick:
    """How the last ticks of a sensor or schedule went; `trouble` is the sentence the last failed with, or empty."""

    name: str
    trouble: str


def last_ticks(instance: dg.DagsterInstance, *, but: str) -> Iterator[LastTick]:
    """Of every sensor and schedule that is switched on and has ticked, `but` one."""
    for state in instance.all_instigator_state():
        if not state.is_running or state.name == but:
            continue
        enough = _FAILED_TICKS.get(state.instigator_type, 1)
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=enough, statuses=_FINISHED)
        if ticks:  # the newest first
            troubles = [_trouble(tick) for tick in ticks]
            yield LastTick(state.name, troubles[0] if len(troubles) == enough and all(troubles) else "")


def cursor_of(instance: dg.DagsterInstance, name: str) -> str | None:
    """Where a sensor that is switched on has got to; None where it is off, or has never ticked."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.name == name and state.is_running and isinstance(state.instigator_data, SensorInstigatorData):
            return state.instigator_data.cursor
    return None


def _trouble(tick: InstigatorTick) -> str:
    error = tick.tick_data.error
    if tick.tick_data.status != TickStatus.FAILURE or error is None:
        return ""
    chain = [error]
    while (cause := chain[-1].cause) is not None:
        chain.append(cause)
    return "" if any(each.cls_name == _PASSES for each in chain) else sentence_of(chain[-1])


def sentence_of(error: SerializableErrorInfo) -> str:
    """An error's message; of one that is written for people without its type before it."""
    said = error.message.strip()
    kind, colon, sentence = said.partition(": ")
    ours = kind.rpartition(".")[2] in (UserError.__name__, Unavailable.__name__)
    return sentence if colon and ours else said
