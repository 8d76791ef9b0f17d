"""One file per step; its revision is the file name's first part."""
