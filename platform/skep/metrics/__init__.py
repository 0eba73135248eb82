"""The catalogue of metrics, frames of deltas, and the text Prometheus reads."""
