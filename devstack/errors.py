"""What devstack tells the user when it can't go on."""


class StackError(Exception):
    """What is wrong in one sentence, and what to do about it; never shown with a traceback."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
        self.problem = problem
        self.remedy = remedy
