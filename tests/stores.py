"""Throw-away stores for tests: one that dies ends the run. Those that a test kills are its own."""

from functools import partial

from devstack import stores
from tests.ending import RUN

throwaway = partial(stores.throwaway, on_death=RUN.end)
