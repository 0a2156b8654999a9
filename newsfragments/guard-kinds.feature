An unknown kind of guard is a mistake with its line and key, at a start, at a reload and for `--check`.
