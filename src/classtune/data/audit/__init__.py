"""What is wrong with a table: findings with examples and advice, and the cleaning that mends it."""
