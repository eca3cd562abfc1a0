"""Reasoning language models: train, search, measure, stress and serve them."""
