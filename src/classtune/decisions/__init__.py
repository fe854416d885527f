"""From scores to answers: calibration, class priors, thresholds, costs, abstention."""
