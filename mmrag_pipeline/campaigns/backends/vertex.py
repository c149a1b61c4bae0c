"""Gemini on Google Cloud (Vertex): the same requests and answers as gemini.py, another address and another identity."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from mmrag_pipeline.campaigns.backends.base import BACKENDS
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend, problem_of, secret_of
from mmrag_pipeline.campaigns.backends.gemini_errors import Names
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
MULTI_REGIONS = ("us", "eu")
_NAME = re.compile(r"[a-z0-9][a-z0-9.:-]*")


class VertexBackend(GeminiBackend):
    """With a project: Google's application default credentials. Without: an express mode key."""

    info = BACKENDS["vertex"]
    api_version = "v1beta1"
    names = Names(key="MMRAG_VERTEX_PROJECT and the Google credentials", address="MMRAG_VERTEX_LOCATION")

    def __init__(
        self,
        *,
        project: str = "",
        location: str = "global",
        api_key: SecretStr | str = "",
        credentials: Credentials | None = None,
        base_url: str | None = None,
        timeout_s: float = 180.0,
        prices: Prices = Prices(),  # noqa: B008 - frozen
    ):
        """`credentials` and `base_url` are by default found by project and location.

        Raises UserError where there is neither project nor key, or one of them can't be right.
        """
        self._project = project
        self._base_url = base_url
        self._key = secret_of("" if project else api_key)
        del api_key  # a traceback that shows local variables must not show it
        for name, value in (("MMRAG_VERTEX_PROJECT", project), ("MMRAG_VERTEX_LOCATION", location)):
            if value and not _NAME.fullmatch(value):
                raise UserError(f"{name}={value!r} can't be right: write its id, for example my-project or global.")
        if not project and not self._key:
            raise UserError(
                "the vertex backend needs a project or a key: set MMRAG_VERTEX_PROJECT, or MMRAG_GEMINI_API_KEY to an "
                "express mode key (or MMRAG_IMAGE_BACKEND=preview)."
            )
        if self._key and (problem := problem_of(self._key)):
            raise UserError(problem)
        self._location = location or "global"
        self._credentials = credentials
        if not project:
            self.names = Names(key="MMRAG_GEMINI_API_KEY", address=self.names.address)
        self._prepare(base_url or _address(self._location if project else "global"), timeout_s, prices)

    def __repr__(self) -> str:
        who = f"project={self._project!r}" if self._project else "api_key='**********'"
        return f"VertexBackend({who}, base_url={self._base_url!r})"

    def _hidden(self) -> str:
        return self._key.get_secret_value() or str(getattr(self._credentials, "token", None) or "")

    def _identity(self) -> dict[str, Any]:
        if self._key:
            return {"vertexai": True, "api_key": self._key.get_secret_value()}
        if self._credentials is None:
            self._credentials = _default_credentials()
        return {
            "vertexai": True,
            "project": self._project,
            "location": self._location,
            "credentials": self._credentials,
        }


def _address(location: str) -> str:
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _default_credentials() -> Credentials:
    import google.auth
    from google.auth import exceptions

    try:
        found, _ = google.auth.default(scopes=[SCOPE])
    except exceptions.DefaultCredentialsError:
        raise UserError(
            "vertex finds no Google credentials: run `gcloud auth application-default login`, or set "
            "GOOGLE_APPLICATION_CREDENTIALS to a service account's file."
        ) from None
    return found
