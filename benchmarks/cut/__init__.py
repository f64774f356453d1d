"""What cutting costs, beside the least that it can cost and beside other ways."""
