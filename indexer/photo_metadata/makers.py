"""Makers of cameras under one name each: EXIF has the names of companies, such as NIKON CORPORATION."""

import re

# Words of a company that say nothing of the brand.
_COMPANY = re.compile(
    r"[\s,]+(corporation|corp|company|co|ltd|limited|inc|ag|gmbh|a/s|imaging|optical|computer|techwin|electronics|"
    r"electric|industries|camera|photo film|technologies|mobile|communications|group)\b\.?",
    re.IGNORECASE,
)
# Brands that are not written with one capital letter.
_WRITTEN = {
    name.lower(): name
    for name in ("DJI", "GoPro", "HTC", "LG", "OnePlus", "OM System", "ZTE", "TCL", "RED", "JVC", "HP", "BlackBerry")
}
_OTHERWISE = {
    "om digital solutions": "OM System",
    "lge": "LG",
    "eastman kodak": "Kodak",
    "konica minolta": "Konica Minolta",
    "fuji": "Fujifilm",
    "hmd global": "Nokia",
    "sony ericsson": "Sony Ericsson",
}


def maker_name(written: str) -> str:
    """The maker's brand as people write it: `Nikon` of NIKON CORPORATION, `Olympus` of OLYMPUS IMAGING CORP."""
    brand = _COMPANY.sub("", written).strip(" ,.")
    known = _OTHERWISE.get(brand.lower()) or _WRITTEN.get(brand.lower())
    if known or not brand:
        return known or written
    return brand.capitalize() if brand.isupper() or brand.islower() else brand
