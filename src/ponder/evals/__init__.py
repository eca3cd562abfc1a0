"""Measuring: attempts are stored once, every number is a pure function over them."""
