"""The former place of `training/fit/candidates.py`, which is the file to edit."""

from training.fit.candidates import Candidate, build_candidates, choose_candidates

__all__ = ["Candidate", "build_candidates", "choose_candidates"]
