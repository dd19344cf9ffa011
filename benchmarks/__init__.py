"""What `make bench` runs. Figures are printed, never asserted."""
