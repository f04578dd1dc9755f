"""Fitting: candidates, the search among them, the model, its calibration and threshold."""
