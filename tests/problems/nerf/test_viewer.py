"""The viewer of scenes in a browser: its cameras are ours, pictures become finer, and without viser it says so."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nfsolve._core.errors import InputError
from nfsolve.cli import run_cli
from nfsolve.forward.cameras import Cameras, orbit
from problems.nerf._trained import TrainedScene
from problems.nerf._viewer import Viewer, aim, camera_of
from problems.nerf.scene import RADIUS, TARGET, NeRFScene
from tests.problems.nerf.test_trained import SMALL, Exact


class Control:
    """A control of viser: its value, and what is done when that changes."""

    def __init__(self, value: Any):
        self.value, self.then = value, lambda _: None

    def on_update(self, then: Callable[[Any], None]) -> None:
        self.then = then


class Gui:
    def __init__(self) -> None:
        self.made: dict[str, Control] = {}

    def add_dropdown(self, name: str, *_: Any, initial_value: Any) -> Control:
        return self.made.setdefault(name, Control(initial_value))

    add_slider = add_dropdown


class Client:
    """A browser whose camera looks from nowhere until it is aimed."""

    def __init__(self, enough: int):
        self.client_id, self.gui, self.shown = 7, Gui(), []
        self.camera = SimpleNamespace(wxyz=(1, 0, 0, 0), position=(0, 0, 0), fov=1.0, aspect=1.5)
        self.camera.on_update = lambda then: None
        self.scene, self.enough = SimpleNamespace(set_background_image=self.show), enough
        self.leave: Callable[[], None] = lambda: None

    def show(self, picture: np.ndarray, format: str) -> None:
        self.shown.append(picture)
        if len(self.shown) == self.enough:
            self.leave()


class Server:
    def __init__(self) -> None:
        self.gui, self.scene, self.up = Gui(), SimpleNamespace(), None
        self.scene.set_up_direction = lambda up: setattr(self, "up", up)

    def on_client_connect(self, then: Callable[[Any], Any]) -> None:
        self.come = then

    def on_client_disconnect(self, then: Callable[[Any], Any]) -> None:
        self.go = then


@pytest.fixture(scope="module")
def scene() -> TrainedScene:
    return NeRFScene(**SMALL).trained(Exact())


def test_a_camera_of_a_browser_is_the_one_it_was_aimed_at():
    cameras = Cameras.with_angle(orbit(5, RADIUS, 0.6, target=TARGET), 60, 40, 0.9)
    for view in range(5):
        state = SimpleNamespace(aspect=1.5)
        aim(state, cameras, view)
        found = camera_of(state, 60)
        torch.testing.assert_close(found.poses[0], cameras.poses[view], rtol=0, atol=1e-12)
        torch.testing.assert_close(found.focals[0], cameras.focals[view], rtol=1e-9, atol=0)
        assert found.sizes.tolist() == [[60, 40]]


def test_axes_are_those_of_viser():
    """Unturned, a camera of viser looks along +z with +y down: from -3 z the origin is straight before it."""
    state = SimpleNamespace(wxyz=(1, 0, 0, 0), position=(0, 0, -3), fov=1.0, aspect=0.5)
    camera = camera_of(state, 40)
    assert camera.sizes.tolist() == [[20, 40]]
    _, corner = camera.rays(torch.tensor([0, 0]), torch.tensor([[10.0, 20.0], [10.0, 40.0]], dtype=torch.float64))
    torch.testing.assert_close(corner[0], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(corner[1, 1] / corner[1, 2], torch.tensor(0.5, dtype=torch.float64).tan())


def test_a_browser_gets_finer_and_finer_pictures_of_the_first_photograph(scene: TrainedScene):
    server, client = Server(), Client(3)
    Viewer(scene, server, 64)
    client.camera.aspect, client.leave = 1.0, lambda: server.go(client)
    server.come(client).join(60)
    assert [picture.shape for picture in client.shown] == [(8, 8, 3), (32, 32, 3), (64, 64, 3)]
    right = scene.render(scene.cameras[[0]].resized(torch.tensor([[64, 64]]))).rgb
    assert np.abs(client.shown[-1] / 255 - right.numpy()).max() < 0.01


def test_a_camera_that_moved_makes_the_rest_of_the_pictures_stale(scene: TrainedScene):
    viewer, state = Viewer(scene, Server(), 64, "normals"), SimpleNamespace(aspect=1.0)
    aim(state, scene.cameras, 1)
    looks = iter([False, True])
    pictures = list(viewer.pictures(state, lambda: next(looks)))
    assert [picture.shape for picture in pictures] == [(8, 8, 3)]


def test_what_cannot_be_shown_is_named(scene: TrainedScene):
    with pytest.raises(InputError, match="unknown picture to show 'colour'"):
        Viewer(scene, Server(), 64, "colour")
    with pytest.raises(InputError, match="size must be from 64 to 2048 pixels, got 5"):
        Viewer(scene, Server(), 5)


def test_without_viser_the_command_says_how_to_install_it(monkeypatch: Any, capsys: Any):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert run_cli(["view"]) == 2
    assert "view needs the folder of a run" in capsys.readouterr().err
    assert run_cli(["view", "runs/none"]) == 2
    assert "needs viser, which is not installed: pip install 'nfsolve[viewer]'" in capsys.readouterr().err
