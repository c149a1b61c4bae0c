"""What is said to people when nobody is watching: one message an incident, to a webhook or to the log."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mmrag_pipeline.errors import Unavailable

QUIET_FOR = timedelta(hours=24)
"""An incident that goes on is said again after so long."""
TIMEOUT_S = 15.0
SHOWN_CHARACTERS = 1500


@dataclass(frozen=True)
class Alert:
    """One message. `action` says what to do, `link` leads to the run where an address is known."""

    title: str
    text: str
    action: str
    link: str = ""

    def __str__(self) -> str:
        return "\n".join(part for part in (self.title, self.text, self.action, self.link) if part)


def post(alert: Alert, webhook: str) -> None:
    """Send an alert in the form that Slack, Mattermost, Rocket.Chat and Discord's /slack address understand: JSON
    with `text` in Slack's mrkdwn (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

    Raises:
        Unavailable: the webhook did not take it. Its address is a secret and not repeated.
    """
    body, action = _escaped(alert.text), _escaped(alert.action)
    text = "\n".join(part for part in (f"*{_escaped(alert.title)}*", body, action, alert.link) if part)
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(webhook, json.dumps({"text": text}).encode(), headers)
        # Not httpx: it logs whole addresses, and this one is a secret.
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        why = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        why = type(error).__name__
    raise _refused(why)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An alert is not sent to another address than the one that was given."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refused(why: str) -> Unavailable:
    return Unavailable(
        f"the webhook of MMRAG_ALERT_WEBHOOK took no alert ({why}): correct it, or unset it to use the log."
    )


def _escaped(text: str) -> str:
    short = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass
class Incidents:
    """Which failures are known. One incident is a job that fails with one sentence, for however many partitions; it
    ends when the job has succeeded for each of them.
    """

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By incident: `job`, `partitions` that failed, and when it was `said`, seconds since the epoch."""

    def failed(self, job: str, partition: str, sentence: str, *, now: datetime) -> bool:
        """Note a failure; whether it has to be said."""
        plain = re.sub(rf"(?<![\w-]){re.escape(partition)}(?![\w-])", "*", sentence) if partition else sentence
        name = hashlib.sha256(f"{job}\n{plain}".encode()).hexdigest()[:16]
        incident = self.known.setdefault(name, {"job": job, "partitions": [], "said": 0.0})
        if partition not in incident["partitions"]:
            incident["partitions"].append(partition)
        if now.timestamp() - incident["said"] < QUIET_FOR.total_seconds():
            return False
        incident["said"] = now.timestamp()
        return True

    def succeeded(self, job: str, partition: str) -> None:
        """Note that what failed works again."""
        for name, incident in list(self.known.items()):
            if incident["job"] == job and partition in incident["partitions"]:
                incident["partitions"].remove(partition)
                if not incident["partitions"]:
                    del self.known[name]
