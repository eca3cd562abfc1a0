"""Test-time compute: how to spend it on one problem, and which answer to give in the end."""

from ponder.search.drive import Driver
from ponder.search.select import SELECTORS
from ponder.search.solution import Solution
from ponder.search.solve import grader_of, make_job, solve
from ponder.search.strategies import STRATEGIES

__all__ = ["SELECTORS", "STRATEGIES", "Driver", "Solution", "grader_of", "make_job", "solve"]
