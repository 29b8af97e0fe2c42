"""What formats are tried with."""

from hypothesis import strategies as st

from anyseek.model.modalities.formats.boxes import Box

unit = st.floats(0, 1)
codes = st.integers(0, 1023)
boxes = st.builds(Box, unit, unit, unit, unit)
texts = st.lists(
    st.sampled_from(
        ["human", "pose", "global", "camera", "shape", "point", "polygon", "none", "bus", "[S_1]", "[EOS]"]
        + [f"v{axis}={value}" for axis in range(4) for value in (0, 1, 7, 20, 255, 511, 512, 999)]
    ),
    max_size=120,
).map(" ".join)
