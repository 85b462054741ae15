"""The errors with which devstack gives up."""


class StackError(Exception):
    """A problem in one sentence, and its remedy; never shown with a traceback."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy
