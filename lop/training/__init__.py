"""What lop.train puts together: the population, what is recorded of it, and the folders of its members."""
