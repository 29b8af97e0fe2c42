"""A decoder process whose decoder crashes, hangs or takes memory, as the name of the file asks for."""

import os
import signal
import sys
import time

from anyseek.model.modalities.reading import decoder_process
from anyseek.model.modalities.reading.decoders import DecodeRequest
from anyseek.model.modalities.reading.encoded import DecodedFile, EncodedFile

_read = decoder_process.decode_in_process


def _misbehaving(request: DecodeRequest, file: EncodedFile) -> DecodedFile:
    if file.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if file.name == "hang":
        time.sleep(600)
    return _read(request, file)


decoder_process.decode_in_process = _misbehaving
decoder_process.main(int(sys.argv[1]), int(sys.argv[2]))
