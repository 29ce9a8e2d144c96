"""Training: fit, calibrate, evaluate, register, promote."""
