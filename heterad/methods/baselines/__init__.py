"""The methods that robust meta-learning is compared with, behind its interface."""
