"""The tutorial's rows: what they are, which can be run here, what is kept of them, and the job that trains them."""
