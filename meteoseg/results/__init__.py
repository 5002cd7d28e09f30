"""The result of a section: what its maps add to the label images, pictures, report, and all of it made again."""
