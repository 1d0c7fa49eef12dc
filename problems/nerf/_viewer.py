"""A trained scene in a browser: viser asks for what its camera sees, and gets it coarse first, then fine.

viser (Yi et al., "Viser: Imperative, web-based 3D visualization in Python", arXiv 2507.22885) draws its own camera's
controls; a camera there looks along +z with +y down, and its angle of view, in radians, is the vertical one.
"""

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from nfsolve import InputError, require_extra, unknown_name
from nfsolve.forward.cameras import Cameras
from problems.nerf._pictures import SHOWS

if TYPE_CHECKING:
    from problems.nerf._trained import TrainedScene

FLIP = np.diag([1.0, -1.0, -1.0])  # axes right, down, forward <-> right, up, back
COARSE = (8, 2, 1)  # how many times smaller than wanted the pictures are that come one after the other
SMALLEST, LARGEST = 64, 2048  # pixels along the longest side


def camera_of(state: Any, longest: int) -> Cameras:
    """Return the camera of a browser.

    Args:
        state: viser's: ``wxyz`` and ``position`` (camera to world), ``fov`` (vertical, radians) and ``aspect``.
        longest: Longest side of its pictures, pixels.

    Returns:
        One camera, in the axes of this project.
    """
    w, x, y, z = state.wxyz
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_quat([x, y, z, w]).as_matrix() @ FLIP)
    pose[:3, 3] = torch.as_tensor(np.asarray(state.position, dtype=np.float64))
    width, height = np.maximum(np.round(longest * np.array([state.aspect, 1.0]) / max(state.aspect, 1.0)), 1).astype(
        int
    )
    across = 2 * np.arctan(np.tan(state.fov / 2) * width / height)
    return Cameras.with_angle(pose[None], int(width), int(height), float(across))


def aim(state: Any, cameras: Cameras, view: int) -> None:
    """Put the camera of a browser where one of the scene's is, with its vertical angle of view."""
    pose = cameras.poses[view].detach().double().cpu().numpy()
    x, y, z, w = Rotation.from_matrix(pose[:3, :3] @ FLIP).as_quat()
    state.wxyz, state.position = np.array([w, x, y, z]), pose[:3, 3]
    state.fov = float(2 * torch.atan(0.5 * cameras.sizes[view, 1] / cameras.focals[view, 1]))


class Viewer:
    """A server that renders a scene for every browser that looks at it.

    Args:
        scene: The trained scene.
        server: viser's server.
        longest: Longest side of the finest picture, pixels.
        show: What pictures show at first: rgb, depth, normals or opacity.
    """

    def __init__(self, scene: "TrainedScene", server: Any, longest: int = 400, show: str = "rgb"):
        if show not in SHOWS:
            raise unknown_name("picture to show", show, SHOWS)
        if not SMALLEST <= longest <= LARGEST:
            raise InputError(f"size must be from {SMALLEST} to {LARGEST} pixels, got {longest}")
        self.scene, self.server = scene, server
        self._one_at_a_time = threading.Lock()
        self._moved: dict[int, threading.Event] = {}
        self._show = server.gui.add_dropdown("show", tuple(SHOWS), initial_value=show)
        self._size = server.gui.add_slider("size / pixels", SMALLEST, LARGEST, 16, initial_value=longest)
        for control in (self._show, self._size):
            control.on_update(lambda _: self.refresh())
        up = scene.cameras.poses[:, :3, 1].mean(0).double().cpu()
        server.scene.set_up_direction(tuple(up.tolist()) if float(up.norm()) > 1e-3 else "+z")
        server.on_client_connect(self.connect)
        server.on_client_disconnect(lambda client: self._moved.pop(client.client_id).set())

    def refresh(self) -> None:
        """Render anew for everybody."""
        for moved in list(self._moved.values()):
            moved.set()

    def connect(self, client: Any) -> threading.Thread:
        """Begin to render for a browser, from where the first photograph was taken."""
        moved = self._moved[client.client_id] = threading.Event()
        aim(client.camera, self.scene.cameras, 0)
        if len(self.scene.cameras) > 1:
            views = client.gui.add_slider("photograph", 0, len(self.scene.cameras) - 1, 1, initial_value=0)
            views.on_update(lambda _: aim(client.camera, self.scene.cameras, int(views.value)))
        client.camera.on_update(lambda _: moved.set())
        moved.set()
        thread = threading.Thread(target=self._serve, args=(client, moved), daemon=True)
        thread.start()
        return thread

    def _serve(self, client: Any, moved: threading.Event) -> None:
        while moved.wait() and self._moved.get(client.client_id) is moved:
            moved.clear()
            for picture in self.pictures(client.camera, moved.is_set):
                client.scene.set_background_image(picture, format="jpeg")

    def pictures(self, state: Any, stale: Callable[[], bool]) -> Iterator[np.ndarray]:
        """Render what a camera sees, coarse pictures first.

        Args:
            state: The browser's camera, see `camera_of`.
            stale: Tells that it has moved, so that what is left need not be rendered.

        Yields:
            Pictures ``(height, width, 3)``, bytes.
        """
        show = self._show.value
        for times in COARSE:
            if stale():
                return
            cameras = camera_of(state, max(int(self._size.value) // times, 1))
            with self._one_at_a_time, torch.no_grad():
                picture = SHOWS[show](self.scene.render(cameras, normals=show == "normals"))
            colours = picture.expand(*picture.shape[:2], 3).clamp(0, 1)
            yield (255 * colours).round().byte().cpu().numpy()


def serve(scene: "TrainedScene", host: str, port: int, longest: int, show: str) -> None:
    """Show a scene in browsers until the program is interrupted; see `TrainedScene.view`."""
    viser = require_extra("viser", "viewer", "looking at a scene in a browser")
    server = viser.ViserServer(host=host, port=port, label="nfsolve", verbose=False)
    try:
        Viewer(scene, server, longest, show)
        print(f"looking at the scene: http://{host}:{server.get_port()} (Ctrl+C ends)", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
