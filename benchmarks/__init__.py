"""The measurements of `make bench`. Figures are printed, never asserted."""
