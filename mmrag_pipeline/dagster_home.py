"""Where Dagster keeps its runs and events on one machine: `DAGSTER_HOME`, else `dagster/` in the store."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import Settings, load_settings


def ensure_dagster_home(settings: Settings) -> Path:
    """Make the folder with a dagster.yaml fit for one machine, and point DAGSTER_HOME at it if nothing does yet."""
    if "://" in settings.store and not os.environ.get("DAGSTER_HOME"):
        raise UserError(
            f"MMRAG_STORE={settings.store} is no local folder, and Dagster keeps its own database on a local disk: "
            f"set DAGSTER_HOME to a folder for it."
        )
    home = Path(os.environ.get("DAGSTER_HOME") or Path(settings.store) / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text((resources.files("mmrag_pipeline") / "dagster.yaml").read_text())
    os.environ["DAGSTER_HOME"] = str(home)
    return home


if __name__ == "__main__":
    try:
        print(ensure_dagster_home(load_settings()))
    except UserError as error:
        sys.exit(f"error: {error}")
