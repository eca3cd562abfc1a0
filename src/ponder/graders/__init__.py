"""What an answer earned. `grade(name, reference=..., completion=...)` is the short way; `GRADERS` lists the names."""

from ponder.graders import extract, math
from ponder.graders.base import GRADERS, grade, judge, make
from ponder.graders.classes import classes
from ponder.graders.math import equal

__all__ = ["GRADERS", "classes", "equal", "extract", "grade", "judge", "make", "math"]
