When the proxy stops, connections between two requests may ask once more, within a second, instead of being reset; clients of WebSockets get a Close frame with 1001.
