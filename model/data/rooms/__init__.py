"""Rooms: pictures of furnished rooms with everything that is known of them, rendered from Debian's furniture.

`catalogue` reads the furniture, `scene` furnishes a room with it, `render` looks into the room, `source` makes samples.
Lengths are metres. The world's x points right, y up and z towards the viewer; a room spans [0, width] x [0, height] x
[0, depth]. A piece of furniture faces z before it is turned.
"""
