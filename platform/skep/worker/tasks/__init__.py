"""Run deliveries: decode, handle, judge, settle."""
