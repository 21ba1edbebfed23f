"""The pictures, each a function from a study to a figure of matplotlib's; settings hold while it draws."""
