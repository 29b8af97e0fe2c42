"""Rooms: pictures of furnished rooms with full annotations, rendered from Debian's furniture.

`catalogue` reads the furniture, `scene` defines a furnished room, `furnish` fills it, `render` draws a view of it, and
`source` makes samples. Lengths are metres. The world's x points right, y up and z towards the viewer; a room spans
[0, width] x [0, height] x [0, depth]. A piece of furniture faces z before it is turned.
"""
