`xrelay` takes several `--backend`, each with the `--slots` that follow it.
