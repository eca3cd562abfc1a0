"""Test-time compute: how to spend it on one problem, and which answer to give in the end."""

from ponder.search.solve import STRATEGIES, Solution, grader_of, solve

__all__ = ["STRATEGIES", "Solution", "grader_of", "solve"]
