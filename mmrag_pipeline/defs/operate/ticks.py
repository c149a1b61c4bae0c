"""Sensors and schedules that fail: what asks for no run is as bad as a run that fails, and makes less noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._utils.error import SerializableErrorInfo

from mmrag_pipeline.errors import Unavailable, UserError

_FINISHED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
_PASSES = "DagsterUserCodeUnreachableError"
"""The code server is being restarted; the sensor that would say it runs there too."""


@dataclass(frozen=True)
class LastTick:
    """How the last tick of a sensor or schedule went; `trouble` is the sentence it failed with, or empty."""

    name: str
    trouble: str


def last_ticks(instance: dg.DagsterInstance, *, but: str) -> Iterator[LastTick]:
    """Of every sensor and schedule that is switched on and has ticked, `but` one."""
    for state in instance.all_instigator_state():
        if not state.is_running or state.name == but:
            continue
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=_FINISHED):
            yield LastTick(state.name, _trouble(tick))


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
