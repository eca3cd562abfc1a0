"""Labels for the steps of solutions: exact, by rollouts, by bisection, by a judge, by agreement, and from public files."""
