"""Posed photographs to the layout of nerfstudio and instant-ngp."""

import json
from pathlib import Path

import numpy as np

from nfsolve.data.photos.photographs import Photographs
from nfsolve.forward.cameras.lenses import COEFFICIENTS


def write_transforms(folder: str | Path, photographs: Photographs, split: str = "") -> Path:
    """Write photographs as transforms.json with PNG images, poses, and intrinsics and distortion for each frame.

    Args:
        folder: Where; made if it does not exist.
        photographs: What to write. Near, far, the box and the background are not in the format.
        split: If given, ``"train"``, ``"val"`` or ``"test"``: the file is transforms_{split}.json.

    Returns:
        The path of the JSON file.
    """
    import imageio.v3 as iio

    folder = Path(folder)
    images = folder / (split or "images")
    images.mkdir(parents=True, exist_ok=True)
    cameras = photographs.cameras
    frames = []
    for view, name in enumerate(f"{view:04d}.png" for view in range(len(cameras))):
        pixels = photographs.image(view).detach().cpu().double().numpy()
        iio.imwrite(images / name, (255 * pixels.clip(0, 1)).round().astype(np.uint8))
        lens = [*cameras.sizes[view].tolist(), *cameras.focals[view].tolist(), *cameras.centres[view].tolist()]
        frame = dict(zip(("w", "h", "fl_x", "fl_y", "cx", "cy"), lens, strict=True))
        if cameras.distortion is not None:
            frame |= dict(zip(COEFFICIENTS, cameras.distortion[view].tolist(), strict=True))
        pose = {"file_path": f"{images.name}/{name}", "transform_matrix": cameras.poses[view].tolist()}
        frames.append(pose | frame)
    model = "OPENCV_FISHEYE" if cameras.fisheye else "OPENCV"
    file = folder / (f"transforms_{split}.json" if split else "transforms.json")
    file.write_text(json.dumps({"camera_model": model, "frames": frames}, indent=1), encoding="utf-8")
    return file
