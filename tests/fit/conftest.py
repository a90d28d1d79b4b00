"""Small inputs of every kind."""

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def moving_bars() -> np.ndarray:
    """Twenty frames of 64 x 48 pixels; the brightness tells the frame."""
    frames = np.zeros((20, 48, 64, 3), np.uint8)
    frames[:] = (10 + 12 * np.arange(20, dtype=np.uint8))[:, None, None, None]
    frames[:, :24, :, 0] //= 2
    return frames


@pytest.fixture
def write_video(tmp_path):
    """Writes frames as an MP4 whose index stands first, so that a cut file still opens."""

    def write(frames, name="clip.mp4", rotation=0, options=None):
        path = tmp_path / name
        options = {"movflags": "frag_keyframe+empty_moov"} if options is None else options
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=10, options={"g": "2", "crf": "10"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv444p"
            if rotation:
                stream.set_display_rotation(rotation)
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write
