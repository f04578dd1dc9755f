"""Fitting: candidates, their search, objectives, calibration."""
