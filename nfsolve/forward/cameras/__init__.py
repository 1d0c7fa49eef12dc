"""Cameras: which ray a pixel sees, and where a point of the world appears.

A pose is a camera-to-world matrix (4, 4) with OpenGL axes: the camera looks along its -z, +x is right and
+y is up. The centre of the pixel in column i, row j lies at (i + 0.5, j + 0.5), row 0 at the top. These are
the conventions of the Blender and nerfstudio formats (docs.nerf.studio, "Data conventions").
"""

from nfsolve.forward.cameras.ndc import ndc_rays
from nfsolve.forward.cameras.placing import dome, look_at, orbit, spiral, sway
from nfsolve.forward.cameras.refinement import PoseCorrections, pose_errors, rigid_motion
from nfsolve.forward.cameras.views import Cameras, aim, focal_from_angle

__all__ = [
    "Cameras",
    "PoseCorrections",
    "aim",
    "dome",
    "focal_from_angle",
    "look_at",
    "ndc_rays",
    "orbit",
    "pose_errors",
    "rigid_motion",
    "spiral",
    "sway",
]
