"""Grade answers: what counts as equal, what counts as an answer, and how a file of completions is graded.

Run: python examples/grade_answers.py
"""

import ponder

# 1. Are two answers the same? True, False, or None when it can not be decided. Nothing is evaluated, nothing hangs.
pairs = [
    ("1/2", "0.5"),
    ("\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}"),
    ("(1, 2]", "[1, 2)"),
    ("x^2-1", "(x-1)(x+1)"),
    ("3, 5", "5, 3"),
    ("9^{9^{9^9}}", "1"),
    ("__import__('os').system('ls')", "0"),
]
print("equal?")
for a, b in pairs:
    print(f"  {a:32} {b:20} {ponder.graders.math.equal(a, b)}")

# 2. What did a completion earn? Only what stands after the thinking counts, and it must be one answer.
completions = [
    "<think>half of one</think>The answer is \\boxed{0.5}.",
    "<think>\\boxed{1/2}</think>I do not know.",
    "<think>half of one, so \\boxed{1/2}",
    "<think>two ways</think>\\boxed{1/2} or \\boxed{2}",
    "<think>two ways</think>\\boxed{1/2}, that is \\boxed{0.5}",
]
print("\ngrade against 1/2")
for text in completions:
    grade = ponder.grade("math", reference="1/2", completion=text)
    print(f"  {grade.outcome:9} {text:58} {grade.reason}")

# 3. Several graders as one reward, every part by its name.
reward = {"math": 1.0, "format": 0.2}
print(f"\nreward {reward}")
for text in completions[:3]:
    grade = ponder.grade("weighted", parts=reward, reference="1/2", completion=text)
    print(f"  {grade.score!s:5} {dict(grade.parts)}  {grade.reason}")
