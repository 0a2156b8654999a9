The log says, seldom, which service of which pool gave no response or broke one off, and why, and when there is no space for bodies.
