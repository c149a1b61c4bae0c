"""A picture as the model made it -> as it is published: its size, the brand's logo and lines, its origin."""
