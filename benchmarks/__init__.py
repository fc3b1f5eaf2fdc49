"""Side-by-side measurements against what people use today: `make bench`."""
