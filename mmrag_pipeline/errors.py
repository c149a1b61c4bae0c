"""The one error type that is written for people.

Anything a user can cause and can mend (a missing folder, a wrong token, a typo in a brief) is raised as a
`UserError` whose text is one sentence: what is wrong, where, and what to do. The CLI prints it without a
traceback, Dagster shows it as a `dg.Failure` that is not retried. Everything else is a bug and keeps its traceback.
"""


class UserError(Exception):
    """Something the user can mend; `str(error)` is the whole message."""


class Unavailable(UserError):
    """A service or file that may answer if asked again later (Milvus down, database held by another process)."""
