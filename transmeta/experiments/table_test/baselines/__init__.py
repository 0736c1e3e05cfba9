"""Rivals that need more than an order: Thompson sampling, a Gaussian process of their own, and what is allowed."""
