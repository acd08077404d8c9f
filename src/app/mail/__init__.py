"""Mail: who delivers it, what is in it, and the links in it that act for who receives it."""
