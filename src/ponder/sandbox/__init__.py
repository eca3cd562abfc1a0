"""Running work that can not be trusted to end: killable worker processes with deadlines and memory limits."""
