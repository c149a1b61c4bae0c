"""Importing pymilvus without its side effects: it reads `.env`, trips over MILVUS_URI, logs tracebacks."""

from __future__ import annotations

import logging
import os
import sys
import threading

_lock = threading.Lock()
_silenced = threading.Event()
_TRIPS_OVER = ("MILVUS_URI", "MILVUS_DEFAULT_CONNECTION")
_LOGGERS = ("pymilvus", "pymilvus.milvus_client", "pymilvus.bulk_writer")


def import_pymilvus() -> None:
    """Import it once, with our environment left as it was and its own stderr log silent.

    Each failure reaches us as an exception, so what it logs besides is a second copy, with a traceback, of
    something that we turn into a sentence or raise. It is silenced once; who sets its level afterwards sees
    it again.
    """
    with _lock:
        if "pymilvus" not in sys.modules:
            _import_undisturbed()
        if not _silenced.is_set():
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
            _silenced.set()


def _import_undisturbed() -> None:
    hidden = {name: os.environ.pop(name) for name in _TRIPS_OVER if name in os.environ}
    dotenv = os.environ.get("PYTHON_DOTENV_DISABLED")
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    try:
        import pymilvus  # noqa: F401
    finally:
        os.environ.update(hidden)
        if dotenv is None:
            del os.environ["PYTHON_DOTENV_DISABLED"]
        else:
            os.environ["PYTHON_DOTENV_DISABLED"] = dotenv
