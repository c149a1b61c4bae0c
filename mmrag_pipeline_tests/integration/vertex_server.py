"""The local Gemini server behind Vertex's paths and identities."""

from __future__ import annotations

import re
from typing import Any

from mmrag_pipeline_tests.integration.gemini_server import Fault, GeminiServer, error

TOKEN = "ya29.local-test-token-77b1"
_PROJECT = r"projects/([\w-]+)/locations/([\w-]+)/"
_ASKED = re.compile(rf"/v1beta1/(?:{_PROJECT})?publishers/google/models/([\w.-]+)(:generateContent)?")


class VertexServer(GeminiServer):
    """With a project in the path it wants the token, without one the key."""

    def __init__(self, *, project: str = "brand-project", location: str = "europe-west4", **options: Any):
        super().__init__(**options)
        self.project = project
        self.location = location
        self.token = TOKEN
        self.paths: list[str] = []

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Fault:
        path = target.split("?")[0]
        self.paths.append(path)
        match = _ASKED.fullmatch(path)
        if match is None:
            return self._problem(404, f"no such path {path}")
        project, location, model, verb = match.groups()
        bearer, key = headers.get("authorization"), headers.get("x-goog-api-key")
        if bearer and key:
            return self._problem(400, "token and key together")
        known = bearer == f"Bearer {self.token}" if bearer else key == self.key and not project
        if not known:
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if project and (project, location) != (self.project, self.location):
            return error(403, "PERMISSION_DENIED", f"Permission denied on projects/{project}/locations/{location}.")
        headers = {**headers, "x-goog-api-key": self.key}
        return super().handle(method, f"/v1/models/{model}{verb or ''}", headers, body)
